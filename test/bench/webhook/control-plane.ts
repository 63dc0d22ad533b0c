import { readFile } from 'node:fs/promises'
import { parseAllDocuments } from 'yaml'
import { applyObject, createObject, getObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { KubeApiError } from '../../../src/kube/errors.ts'
import type { ResourcePath } from '../../../src/kube/resource.ts'
import type { KubeObject } from '../../../src/kube/types.ts'
import { imageOf } from '../../cluster/images/image.ts'
import { storedLayer } from '../../cluster/images/stored-layer.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { type Cluster, eventually } from '../../cluster/index.ts'
import { startRegistry, type TestRegistry } from '../../support/registry.ts'
import type { BenchOptions } from '../bench.ts'
import { benchCluster } from '../harness/cluster.ts'

/** What kip as a whole needs around it: a real API server that knows CachedImages, and two real registries. */
export interface ControlPlane extends AsyncDisposable {
  readonly cluster: Cluster
  readonly client: KubeClient
  readonly source: TestRegistry
  readonly backup: TestRegistry
  /** Three tiny images, for the pod of a review. */
  readonly images: readonly [string, string, string]
  /** One that takes longer to copy than any run, whoever copies. */
  readonly large: string
}

/** At the rate that all of 200m allows, a minute. */
const LARGE_MIB = 1024
const LARGE_LAYERS = 4

const crds = { group: 'apiextensions.k8s.io', version: 'v1', plural: 'customresourcedefinitions' }

/** Brings up a control plane without nodes, etcd in memory where the machine has a place for that, and the registries. */
export async function startControlPlane({ report, signal }: BenchOptions): Promise<ControlPlane> {
  await using cleanup = new AsyncDisposableStack()
  const { cluster } = cleanup.use(await benchCluster({ nodes: 0, place: 'memory', report, signal }))
  const client = await connectCluster({ kubeconfig: cluster.kubeconfig })
  cleanup.defer(() => client.close())
  await installResource(client, signal)

  const source = cleanup.use(await startRegistry())
  const backup = cleanup.use(await startRegistry())
  const names = ['web', 'log', 'settings'] as const
  for (const [index, image] of names.entries())
    await source.client.push(tinyImage(index), image, '1')
  const layers = Array.from({ length: LARGE_LAYERS }, (_, number) =>
    storedLayer(`large ${number}`, (LARGE_MIB / LARGE_LAYERS) * 2 ** 20),
  )
  await source.client.push(imageOf({ layers }), 'large', '1')
  const [web, log, settings] = names
  const at = (repository: string): string => `${source.host}/${repository}:1`
  const disposal = cleanup.move()
  return {
    ...{ cluster, client, source, backup },
    images: [at(web), at(log), at(settings)],
    large: at('large'),
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  }
}

export const namespaces: ResourcePath = { group: '', version: 'v1', plural: 'namespaces' }

/** Makes a namespace, unless it is there. @returns where its pods are */
export async function makeNamespace(
  { client }: ControlPlane,
  name: string,
  labels: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<ResourcePath> {
  const object: KubeObject = { apiVersion: 'v1', kind: 'Namespace', metadata: { name, labels } }
  await createObject(client, namespaces, object, { signal }).catch((error: unknown) => {
    if (!(error instanceof KubeApiError && error.status === 409)) throw error
  })
  const of = (plural: string): ResourcePath => ({
    ...{ group: '', version: 'v1', plural },
    namespace: name,
  })
  // Without it no pod is taken there.
  await eventually(
    `service account in ${name}`,
    () => getObject(client, of('serviceaccounts'), 'default', { signal }),
    { timeoutMs: 20_000, signal },
  )
  return of('pods')
}

async function installResource(client: KubeClient, signal: AbortSignal): Promise<void> {
  const file = new URL('../../../deploy/manifests/crd.yaml', import.meta.url)
  for (const document of parseAllDocuments(await readFile(file, 'utf8'))) {
    const fieldManager = 'kip-bench'
    await applyObject(client, crds, document.toJS() as KubeObject, {
      ...{ fieldManager, force: true, signal },
    })
  }
  await eventually(
    'CachedImages that are served',
    async () => {
      const path = '/apis/images.kip/v1alpha1/cachedimages'
      return await client.request({ method: 'GET', path, signal }).then(() => true)
    },
    { timeoutMs: 20_000, signal },
  )
}
