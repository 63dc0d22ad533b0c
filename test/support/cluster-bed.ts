import { readFile } from 'node:fs/promises'
import { parseAllDocuments } from 'yaml'
import { applyObject } from '../../src/kube/apply.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { connectCluster } from '../../src/kube/connect.ts'
import type { KubeObject } from '../../src/kube/types.ts'
import type { Cluster } from '../cluster/index.ts'
import { acquireCluster } from './cluster.ts'
import { waitUntil } from './wait-until.ts'

/** A real API server that knows CachedImages. */
export interface ClusterBed {
  readonly cluster: Cluster
  readonly client: KubeClient
  kubectl(...args: string[]): Promise<string>
  close(): Promise<void>
}

const crd = { group: 'apiextensions.k8s.io', version: 'v1', plural: 'customresourcedefinitions' }

/**
 * Connects to a cluster, that of the tests if none is given, and installs the CRD of `deploy/manifests`. At the top of a test
 * file.
 */
export async function clusterBed(given?: Cluster): Promise<ClusterBed> {
  const cluster = given ?? (await acquireCluster({ nodes: 0 }))
  const client = await connectCluster({ kubeconfig: cluster.kubeconfig })
  const { signal } = new AbortController()
  const text = await readFile(new URL('../../deploy/manifests/crd.yaml', import.meta.url), 'utf8')
  for (const document of parseAllDocuments(text)) {
    const fieldManager = 'kip-test'
    await applyObject(client, crd, document.toJS() as KubeObject, {
      fieldManager,
      force: true,
      signal,
    })
  }
  await waitUntil('CachedImages are served', async () => {
    const path = '/apis/images.kip/v1alpha1/cachedimages'
    return await client.request({ method: 'GET', path, signal }).catch(() => undefined)
  })
  return {
    cluster,
    client,
    kubectl: async (...args) => await cluster.kubectl(args),
    close: () => client.close(),
  }
}
