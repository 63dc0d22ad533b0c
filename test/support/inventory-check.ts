import type { KubeClient } from '../../src/kube/client.ts'
import type { KubeList, KubeObject, Pod } from '../../src/kube/types.ts'

/** Who uses an image, as its CachedImage says. */
export interface UsageSummary {
  readonly pods: number
  readonly workloads: number
  readonly namespaces: number
  readonly owners: readonly string[]
}

export type InventorySummary = Readonly<Record<string, UsageSummary>>

interface CronJob extends KubeObject {
  readonly spec?: { readonly jobTemplate?: { readonly spec?: { readonly template?: Pod } } }
}

/**
 * The inventory by a fresh full list, computed as simply as it can be: pods without owner and CronJobs, in all namespaces
 * that bear no flag, each with normalised references.
 */
export async function listInventory(
  client: KubeClient,
  isMine: (namespace: string) => boolean,
): Promise<InventorySummary> {
  const [namespaces, pods, jobs] = await Promise.all([
    listAll<KubeObject>(client, '/api/v1/namespaces'),
    listAll<Pod>(client, '/api/v1/pods'),
    listAll<CronJob>(client, '/apis/batch/v1/cronjobs'),
  ])
  const open = new Set(
    namespaces.flatMap(({ metadata }) =>
      metadata?.labels?.['images.kip/ignore'] === 'true' ? [] : [metadata?.name ?? ''],
    ),
  )
  const uses = new Map<string, { pods: number; owners: Set<string>; namespaces: Set<string> }>()
  const add = (kind: string, object: KubeObject, spec: Pod['spec']): void => {
    const { namespace = '', name = '' } = object.metadata ?? {}
    if (!open.has(namespace) || !isMine(namespace)) return
    for (const reference of new Set(spec?.containers?.map(({ image = '' }) => image))) {
      const use = uses.get(reference) ?? { pods: 0, owners: new Set(), namespaces: new Set() }
      uses.set(reference, use)
      if (kind === 'Pod') use.pods += 1
      use.owners.add(`${namespace}/${name}/${kind}`)
      use.namespaces.add(namespace)
    }
  }
  for (const pod of pods) add('Pod', pod, pod.spec)
  for (const job of jobs) add('CronJob', job, job.spec?.jobTemplate?.spec?.template?.spec)
  return sorted(
    [...uses].map(([reference, { pods, owners, namespaces }]) => [
      reference,
      {
        pods,
        workloads: owners.size,
        namespaces: namespaces.size,
        owners: [...owners].sort(byParts).slice(0, 10),
      },
    ]),
  )
}

/** The inventory as the CachedImages say. */
export async function storedInventory(client: KubeClient): Promise<InventorySummary> {
  interface CachedImage extends KubeObject {
    readonly spec: { readonly reference: string }
    readonly status?: {
      readonly usage?: {
        readonly pods: number
        readonly workloads: number
        readonly namespaces: number
        readonly owners?: readonly {
          readonly kind: string
          readonly namespace: string
          readonly name: string
        }[]
      }
    }
  }
  const images = await listAll<CachedImage>(client, '/apis/images.kip/v1alpha1/cachedimages')
  return sorted(
    images.map(({ spec, status }) => {
      const { pods = 0, workloads = 0, namespaces = 0, owners = [] } = status?.usage ?? {}
      const names = owners.map(({ kind, namespace, name }) => `${namespace}/${name}/${kind}`)
      return [spec.reference, { pods, workloads, namespaces, owners: names }]
    }),
  )
}

export async function listAll<T extends KubeObject>(
  client: KubeClient,
  path: string,
  limit?: number,
): Promise<readonly T[]> {
  const { signal } = new AbortController()
  const query = { limit: limit?.toString() }
  const list = await client.request<KubeList<T>>({ method: 'GET', path, query, signal })
  return list.items ?? []
}

function sorted(entries: readonly (readonly [string, UsageSummary])[]): InventorySummary {
  return Object.fromEntries(entries.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

function byParts(a: string, b: string): number {
  const [one, two] = [a.split('/'), b.split('/')]
  const at = one.findIndex((part, index) => part !== two[index])
  return at < 0 ? 0 : (one[at] ?? '') < (two[at] ?? '') ? -1 : 1
}
