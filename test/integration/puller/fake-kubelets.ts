import { applyObject, deleteObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { Container, KubeList, KubeObject, Pod } from '../../../src/kube/types.ts'

const nodes = { group: '', version: 'v1', plural: 'nodes' }

/** What a node is said to be; by default nothing is said of it, and its disk has 100 GiB. */
export interface FakeNode {
  readonly labels?: Readonly<Record<string, string>>
  /** Key of one that keeps pods off. */
  readonly taint?: string
  readonly architecture?: string
  readonly disk?: string
  /** Pods that it takes; default: 110. */
  readonly slots?: string
}

export interface FakeKubeletsOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** Made, kept Ready, and deleted in the end; they have the label `kip-test/nodes: <namespace>`. */
  readonly nodes: readonly string[]
  readonly look?: (node: string) => FakeNode
  readonly isBad: (reference: string) => boolean
  /** Of one step of every pod. Default 150. */
  readonly tickMs?: number
}

/**
 * Nodes without machines beside a real control plane: the real DaemonSet controller and scheduler place pods on them, and
 * this says what kubelets would, an init container a tick; image volumes are mounted at once.
 *
 * @returns how to end them, which removes the nodes
 */
export async function startFakeKubelets(
  options: FakeKubeletsOptions,
): Promise<() => Promise<void>> {
  const { client, namespace, tickMs = 150, look = (): FakeNode => ({}) } = options
  const controller = new AbortController()
  const { signal } = controller
  const pods = { group: '', version: 'v1', plural: 'pods', namespace }
  for (const name of options.nodes) {
    const { labels, taint, architecture } = look(name)
    const node = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: {
        name,
        labels: {
          'kip-test/nodes': namespace,
          'kubernetes.io/os': 'linux',
          ...(architecture !== undefined && { 'kubernetes.io/arch': architecture }),
          ...labels,
        },
      },
      ...(taint !== undefined && { spec: { taints: [{ key: taint, effect: 'NoSchedule' }] } }),
    }
    await applyObject(client, nodes, node, { fieldManager: 'fake-kubelet', signal })
  }

  const patch = async (path: string, body: unknown): Promise<void> => {
    await client.request({
      method: 'PATCH',
      path,
      contentType: 'application/merge-patch+json',
      body,
      signal,
    })
  }
  const beat = async (): Promise<void> => {
    const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
    const ready = { type: 'Ready', status: 'True', reason: 'KubeletReady', lastHeartbeatTime: now }
    for (const name of options.nodes) {
      const { architecture, disk = '100Gi', slots = '110' } = look(name)
      const room = { cpu: '8', memory: '16Gi', pods: slots, 'ephemeral-storage': disk }
      await patch(resourcePath(nodes, name, 'status'), {
        status: {
          capacity: room,
          allocatable: room,
          conditions: [ready],
          ...(architecture === undefined
            ? {}
            : { nodeInfo: { architecture, operatingSystem: 'linux' } }),
        },
      })
    }
  }
  /** By pod: what was said last, which is not said again. */
  const told = new Map<string, string>()
  const visit = async (): Promise<void> => {
    const list = await client.request<KubeList<Pod>>({
      method: 'GET',
      path: resourcePath(pods),
      signal,
    })
    for (const pod of list.items ?? []) {
      const name = pod.metadata?.name ?? ''
      if (!options.nodes.includes(pod.spec?.nodeName ?? '')) continue
      const path = resourcePath(pods, name)
      if (pod.metadata?.deletionTimestamp !== undefined) {
        await client.request({
          method: 'DELETE',
          path,
          body: { apiVersion: 'v1', kind: 'DeleteOptions', gracePeriodSeconds: 0 },
          signal,
        })
        continue
      }
      const status = nextStatus(pod, options.isBad)
      const text = JSON.stringify(status)
      if (told.get(name) === text) continue
      await patch(`${path}/status`, { status })
      told.set(name, text)
    }
  }

  let beats = 0
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        if (beats++ % Math.ceil(4500 / tickMs) === 0) await beat()
        await visit()
      } catch {
        // A pod that went meanwhile; the next tick looks again.
      }
      await new Promise((resolve) => setTimeout(resolve, tickMs))
    }
  }
  await beat()
  const running = run()
  return async () => {
    controller.abort()
    await running
    const after = new AbortController().signal
    for (const name of options.nodes) await deleteObject(client, nodes, name, { signal: after })
  }
}

function nextStatus(pod: Pod, isBad: (reference: string) => boolean): KubeObject | object {
  const { initContainers = [], containers = [] } = pod.spec ?? {}
  const before = pod.status?.initContainerStatuses ?? []
  const done = before.filter(({ state }) => state?.terminated !== undefined).length
  const stopped = initContainers.slice(0, done + 1).findIndex(({ image = '' }) => isBad(image))
  const reached = stopped < 0 ? Math.min(done + 1, initContainers.length) : stopped
  const initialised = reached === initContainers.length
  const init = initContainers.map((container, index) =>
    index < reached
      ? status(container, { terminated: { exitCode: 0, reason: 'Completed' } }, true)
      : index === stopped
        ? status(container, failed(container), false)
        : status(container, { waiting: { reason: 'PodInitializing' } }, false),
  )
  const volumes = new Map(
    (pod.spec?.volumes ?? []).map(({ name, image }) => [name, image?.reference ?? '']),
  )
  const running = new Set(
    (pod.status?.containerStatuses ?? [])
      .filter(({ state }) => state?.running !== undefined)
      .map(({ name }) => name),
  )
  // A kubelet makes no container without all images that it mounts.
  const lackOf = ({ image = '', volumeMounts = [] }: Container): string | undefined =>
    [image, ...volumeMounts.map(({ name }) => volumes.get(name) ?? '')].find(isBad)
  const main = containers.map((container) => {
    if (!initialised) return status(container, { waiting: { reason: 'PodInitializing' } }, false)
    // What runs goes on running, whatever became of its image.
    const lack = running.has(container.name) ? undefined : lackOf(container)
    return lack === undefined
      ? status(container, { running: { startedAt: '2026-01-01T00:00:00Z' } }, true)
      : status(container, failed({ image: lack }), false)
  })
  const ready =
    initialised && containers.every((one) => running.has(one.name) || lackOf(one) === undefined)
  return {
    phase: ready ? 'Running' : 'Pending',
    conditions: ['Ready', 'ContainersReady'].map((type) => ({
      type,
      status: ready ? 'True' : 'False',
    })),
    initContainerStatuses: init,
    containerStatuses: main,
  }
}

function status({ name, image = '' }: Container, state: object, has: boolean): object {
  const isReady = 'running' in state || 'terminated' in state
  const imageID = has ? `sha256:${'0'.repeat(64)}` : ''
  return { name, image, imageID, ready: isReady, restartCount: 0, state }
}

function failed({ image = '' }: Pick<Container, 'image'>): object {
  return { waiting: { reason: 'ErrImagePull', message: `${image}: not found` } }
}
