import type { Condition, Mirror, Nodes, Source, Usage } from '../../src/state/cached-image.ts'
import type { Cluster } from '../cluster/index.ts'

/** A CachedImage as `kubectl get -o json` shows it. */
export interface CachedImageObject {
  readonly metadata: {
    readonly name: string
    readonly managedFields?: readonly { readonly manager: string }[]
  }
  readonly spec: { readonly reference: string }
  readonly status?: {
    readonly usage?: Partial<Usage>
    readonly source?: Partial<Source>
    readonly mirrors?: readonly Mirror[]
    readonly nodes?: Partial<Nodes>
    readonly conditions?: readonly Condition[]
  }
}

/** All CachedImages of a cluster; none while the resource is not there. */
export async function readCachedImages(cluster: Cluster): Promise<readonly CachedImageObject[]> {
  const text = await cluster.kubectl([
    ...['get', 'cachedimages.images.kip', '-o', 'json', '--show-managed-fields'],
  ])
  return (JSON.parse(text) as { items: readonly CachedImageObject[] }).items
}
