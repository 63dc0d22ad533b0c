import type { KubeClient } from '../../../src/kube/client.ts'
import type { DaemonSet, Pod, PodTemplateSpec } from '../../../src/kube/types.ts'
import type { FakeKube, FakeObject } from '../../support/fake-kube.ts'
import { fastClock as clockInHurry } from '../../support/fast-clock.ts'
import type { SimulatedCluster } from './simulated-cluster.ts'

/** How many times faster than the real one the clock of these tests runs. */
const pace = 50

/** What takes a second takes 20 ms. */
export const fastClock = clockInHurry(pace)

export const daemonSets = { group: 'apps', version: 'v1', plural: 'daemonsets', namespace: 'kip' }
export const pods = { group: '', version: 'v1', plural: 'pods', namespace: 'kip' }

/**
 * Puts the simulated controller and kubelets behind a fake API server, one step a second of the fast clock.
 *
 * @param admit what admission makes of pods, as JSON
 */
export function connect(
  kube: FakeKube,
  cluster: SimulatedCluster,
  admit: (pod: string) => string = (pod) => pod,
): () => void {
  const interval = setInterval(() => step(kube, cluster, admit), 1000 / pace)
  return () => clearInterval(interval)
}

function step(kube: FakeKube, cluster: SimulatedCluster, admit: (pod: string) => string): void {
  const present = new Map(kube.list(daemonSets).map((object) => [object.metadata?.name, object]))
  for (const name of cluster.daemonSets.keys()) if (!present.has(name)) cluster.delete(name)
  for (const [name = '', object] of present) cluster.daemonSets.set(name, object as DaemonSet)
  cluster.tick()
  for (const [name, { status }] of cluster.daemonSets) {
    const object = present.get(name)
    if (object !== undefined) kube.put(daemonSets, { ...object, status } as FakeObject)
  }
  const alive = new Set<string>()
  for (const pod of cluster.pods()) {
    const name = pod.metadata?.name ?? ''
    alive.add(name)
    const before = kube.get(pods, name)
    const metadata = { ...before?.metadata, ...pod.metadata, namespace: 'kip' }
    const object = { apiVersion: 'v1', kind: 'Pod', ...pod, metadata }
    kube.put(pods, JSON.parse(admit(JSON.stringify(object))) as FakeObject)
  }
  for (const { metadata, status } of kube.list(pods) as readonly Pod[]) {
    // A test's own.
    if (status?.phase === 'Failed') continue
    if (!alive.has(metadata?.name ?? '')) kube.delete(pods, metadata?.name ?? '')
  }
}

/** Puts pods of a template that a kubelet has evicted: as many as make a shard pause. */
export function refuse(kube: FakeKube, template: PodTemplateSpec | undefined, node: string): void {
  for (const number of [1, 2, 3]) {
    kube.put(pods, {
      ...{ apiVersion: 'v1', kind: 'Pod' },
      metadata: { ...template?.metadata, name: `refused-${number}`, namespace: 'kip' },
      spec: { ...template?.spec, nodeName: node },
      status: { phase: 'Failed', reason: 'Evicted' },
    } as FakeObject)
  }
}

/**
 * A mutating webhook on the way to the API server.
 *
 * @param admit what it makes of objects that are written, as JSON
 */
export function mutated(client: KubeClient, admit: (json: string) => string): KubeClient {
  return {
    server: client.server,
    namespace: client.namespace,
    request: (request) =>
      client.request(
        request.body === undefined
          ? request
          : { ...request, body: JSON.parse(admit(JSON.stringify(request.body))) },
      ),
    raw: (request) => client.raw(request),
    stream: (request, sink) => client.stream(request, sink),
    close: () => client.close(),
  }
}
