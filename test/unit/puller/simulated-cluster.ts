import type {
  Container,
  ContainerStatus,
  DaemonSet,
  Pod,
  PodSpec,
} from '../../../src/kube/types.ts'
import { admitsDaemon } from '../../../src/puller/node-fit.ts'
import { type NodeView, projectNode } from '../../../src/puller/node-view.ts'
import { templateAnnotation } from '../../../src/puller/pod-template.ts'

/** How an image behaves on a node. */
export type Behaviour = 'good' | 'missing' | 'unstartable'

interface SimPod {
  readonly name: string
  readonly node: string
  readonly daemonSet: string
  readonly born: number
  readonly template: NonNullable<NonNullable<DaemonSet['spec']>['template']>
  readonly states: Map<string, 'pulling' | 'failed' | 'unstartable' | 'started'>
  /** What a reference was when the pod's container was made of it. */
  readonly made: Map<string, string>
  /** Ticks until its sandbox stands. */
  starting: number
  /** Ticks that the pull under way still takes. */
  pull: number
  ready: boolean
}

interface SimNode {
  /** What a tag is on the node, by reference. */
  readonly tags: Map<string, string>
  readonly architecture: string
  readonly view: NodeView
  readonly images: Set<string>
  lost: boolean
}

/**
 * DaemonSet controller and kubelets in small, one step a tick: rolling updates with surge as the controller does them
 * (an old pod that is not ready goes as soon as there is a new one), pods that pull one image at a time, init containers
 * that stop those after them, and a garbage collector without patience: what no container protects is gone at once.
 */
export class SimulatedCluster {
  readonly nodes = new Map<string, SimNode>()
  readonly daemonSets = new Map<string, DaemonSet>()
  /** Good images that a node had and lost although a pod was to hold them, as `node image`. */
  readonly losses: string[] = []
  /** Changes of DaemonSets, as `name` in order. */
  readonly writes: string[] = []
  behave: (reference: string, node: string) => Behaviour = () => 'good'
  pullTicks: (reference: string) => number = () => 1
  /** What tags are at their registry now. */
  readonly registry = new Map<string, string>()
  #pods: SimPod[] = []
  #serial = 0
  #time = 0

  constructor(nodes: readonly string[]) {
    for (const node of nodes) this.addNode(node)
  }

  /** @param taint key of a taint that keeps pods off */
  addNode(
    name: string,
    architecture = 'amd64',
    {
      labels = {},
      taint,
      slots = '',
    }: { labels?: Readonly<Record<string, string>>; taint?: string; slots?: string } = {},
  ): void {
    const view = projectNode({
      metadata: {
        name,
        labels: { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': architecture, ...labels },
      },
      spec: { taints: taint === undefined ? [] : [{ key: taint, effect: 'NoSchedule' }] },
      status: { capacity: { pods: slots } },
    })
    this.nodes.set(name, { architecture, view, tags: new Map(), images: new Set(), lost: false })
  }

  removeNode(name: string): void {
    this.nodes.delete(name)
    this.#pods = this.#pods.filter(({ node }) => node !== name)
  }

  /** Server-side apply: only a changed spec makes a new generation. */
  apply(object: DaemonSet): void {
    const name = object.metadata?.name ?? ''
    const before = this.daemonSets.get(name)
    const changed = JSON.stringify(before?.spec) !== JSON.stringify(object.spec)
    this.writes.push(name)
    this.daemonSets.set(name, {
      ...object,
      metadata: {
        ...object.metadata,
        uid: before?.metadata?.uid ?? `uid-${++this.#serial}`,
        creationTimestamp:
          before?.metadata?.creationTimestamp ?? String(this.#time).padStart(9, '0'),
        generation: (before?.metadata?.generation ?? 0) + (changed ? 1 : 0),
      },
      ...(before?.status === undefined ? {} : { status: before.status }),
    })
  }

  delete(name: string): void {
    this.writes.push(`-${name}`)
    this.daemonSets.delete(name)
    this.#pods = this.#pods.filter(({ daemonSet }) => daemonSet !== name)
  }

  tick(): void {
    this.#time += 1
    for (const daemonSet of this.daemonSets.values()) this.#control(daemonSet)
    for (const pod of this.#pods) if (this.nodes.get(pod.node)?.lost === false) this.#sync(pod)
    for (const [name, node] of this.nodes) this.#collect(name, node)
  }

  pods(): readonly Pod[] {
    return this.#pods.map((pod) => this.#render(pod))
  }

  /** What a node's ready pods of a shard were made of when they were asked for a reference. */
  digestsOn(node: string, reference: string): readonly string[] {
    return this.#pods
      .filter((pod) => pod.node === node && pod.ready)
      .flatMap(({ made }) => made.get(reference) ?? [])
  }

  /** Shards that have pods on a node. */
  shardsOn(node: string): number {
    return new Set(this.#pods.filter((pod) => pod.node === node).map((pod) => pod.daemonSet)).size
  }

  /** Whether a node has an image that a container keeps from garbage collection. */
  isHeld(node: string, reference: string): boolean {
    return this.#protected(node).has(reference)
  }

  /** References of the images in a shard's template. */
  members(name: string): readonly string[] {
    const spec = this.daemonSets.get(name)?.spec?.template?.spec
    const volumes = imageVolumes(spec)
    if (volumes.length > 0) return volumes.map(({ reference }) => reference).sort()
    return [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])]
      .filter((container) => !isOwn(container))
      .map(({ image }) => image ?? '')
      .sort()
  }

  #control(daemonSet: DaemonSet): void {
    const name = daemonSet.metadata?.name ?? ''
    const template = daemonSet.spec?.template ?? {}
    const hash = template.metadata?.annotations?.[templateAnnotation]
    const most = daemonSet.spec?.updateStrategy?.rollingUpdate?.maxSurge ?? 0
    const nodes = this.#nodesOf(daemonSet)
    let surge =
      typeof most === 'number' ? most : Math.ceil((Number.parseInt(most, 10) * nodes.length) / 100)
    const create: string[] = []
    const candidates: string[] = []
    for (const node of nodes) {
      const pods = this.#pods.filter((pod) => pod.daemonSet === name && pod.node === node)
      const isNew = (pod: SimPod): boolean =>
        pod.template.metadata?.annotations?.[templateAnnotation] === hash
      const [young] = pods.filter(isNew)
      const [old, ...olderStill] = pods.filter((pod) => !isNew(pod))
      for (const pod of olderStill) this.#end(pod)
      if (old === undefined) {
        if (young === undefined) create.push(node)
      } else if (young === undefined) {
        if (old.ready) candidates.push(node)
        else create.push(node)
      } else if (young.ready || !old.ready) this.#end(old)
      else surge -= 1
    }
    for (const node of [...create, ...candidates.slice(0, Math.max(0, surge))]) {
      this.#serial += 1
      this.#pods.push({
        name: `${name}-${this.#serial}`,
        node,
        daemonSet: name,
        born: this.#time,
        template,
        states: new Map(),
        made: new Map(),
        starting: 2,
        pull: 0,
        ready: false,
      })
    }
    // As the controller counts: one pod a node, the oldest.
    const own = [...this.nodes.keys()].flatMap((node) => {
      const [oldest] = this.#pods
        .filter((pod) => pod.daemonSet === name && pod.node === node)
        .sort((a, b) => a.born - b.born)
      return oldest ?? []
    })
    const isUpdated = ({ template: { metadata } }: SimPod): boolean =>
      metadata?.annotations?.[templateAnnotation] === hash
    this.daemonSets.set(name, {
      ...daemonSet,
      status: {
        observedGeneration: daemonSet.metadata?.generation ?? 0,
        desiredNumberScheduled: nodes.length,
        updatedNumberScheduled: own.filter(isUpdated).length,
        numberReady: own.filter(({ ready }) => ready).length,
      },
    })
  }

  #nodesOf(daemonSet: DaemonSet): readonly string[] {
    const demand = daemonSet.spec?.template?.spec ?? {}
    return [...this.nodes]
      .filter(([, { view }]) => admitsDaemon(view, demand))
      .map(([name]) => name)
  }

  #end(pod: SimPod): void {
    this.#pods = this.#pods.filter((other) => other !== pod)
  }

  /** One step of a kubelet on one pod: one pull at a time, init containers in order. */
  #sync(pod: SimPod): void {
    if (pod.starting > 0) {
      pod.starting -= 1
      return
    }
    const spec = pod.template.spec ?? {}
    // All volumes of a pod are pulled, one after the other, before a container is made.
    for (const { name, reference, pullPolicy } of imageVolumes(spec)) {
      const key = `volume ${name}`
      if (this.#pull(pod, key, reference, pullPolicy === 'Always') === 'pulling') return
    }
    for (const container of spec.initContainers ?? []) {
      if (pod.states.get(container.name) === 'started') continue
      this.#step(pod, container)
      // An init container takes about a second, however little it does.
      return
    }
    for (const container of spec.containers ?? []) {
      // Sibling containers wait only while the kubelet is busy pulling.
      if (this.#step(pod, container) === 'pulling') return
    }
    pod.ready = (spec.containers ?? []).every(({ name }) => pod.states.get(name) === 'started')
  }

  #step(pod: SimPod, container: Container): string {
    if (pod.states.get(container.name) === 'started') return 'started'
    const image = container.image ?? ''
    const lacking = mountsOf(container).find(
      (name) => pod.states.get(`volume ${name}`) === 'failed',
    )
    if (lacking !== undefined) {
      pod.states.set(container.name, 'failed')
      return 'failed'
    }
    const pulled = this.#pull(pod, container.name, image, container.imagePullPolicy === 'Always')
    if (pulled !== 'pulled') return pulled
    const next = this.behave(image, pod.node) === 'unstartable' ? 'unstartable' : 'started'
    pod.states.set(container.name, next)
    return next
  }

  /** One step of a pull. */
  #pull(pod: SimPod, key: string, image: string, always: boolean): 'pulling' | 'failed' | 'pulled' {
    const node = this.nodes.get(pod.node)
    if (always && !pod.made.has(image)) {
      if (this.behave(image, pod.node) === 'missing') {
        pod.states.set(key, 'failed')
        return 'failed'
      }
      node?.tags.set(image, this.registry.get(image) ?? '')
    }
    if (node?.images.has(image) !== true) {
      if (this.behave(image, pod.node) === 'missing') {
        pod.states.set(key, 'failed')
        return 'failed'
      }
      if (pod.states.get(key) !== 'pulling') pod.pull = this.pullTicks(image)
      pod.states.set(key, 'pulling')
      pod.pull -= 1
      if (pod.pull >= 0) return 'pulling'
      node?.images.add(image)
      node?.tags.set(image, this.registry.get(image) ?? '')
    }
    if (!pod.made.has(image)) pod.made.set(image, node?.tags.get(image) ?? '')
    if (key.startsWith('volume ')) pod.states.delete(key)
    return 'pulled'
  }

  #collect(name: string, node: SimNode): void {
    const kept = this.#protected(name)
    for (const image of node.images) {
      if (kept.has(image)) continue
      node.images.delete(image)
      this.losses.push(`${name} ${image}`)
    }
  }

  #protected(node: string): ReadonlySet<string> {
    const kept = new Set<string>()
    for (const pod of this.#pods) {
      if (pod.node !== node) continue
      const volumes = new Map(
        imageVolumes(pod.template.spec).map(({ name, reference }) => [name, reference]),
      )
      // What was pulled for a pod that is being started is not old enough to be collected.
      if (!pod.ready) for (const reference of volumes.values()) kept.add(reference)
      for (const container of containersOf(pod)) {
        const state = pod.states.get(container.name)
        // An image that cannot be started has no container; the kubelet pulls it again when it is gone.
        if (state === 'started' || state === 'unstartable') kept.add(container.image ?? '')
        if (state !== 'started') continue
        for (const name of mountsOf(container)) kept.add(volumes.get(name) ?? '')
      }
    }
    return kept
  }

  #render(pod: SimPod): Pod {
    const spec = pod.template.spec ?? {}
    const init = (spec.initContainers ?? []).map((container) => this.#status(pod, container, true))
    const containers = (spec.containers ?? []).map((one) => this.#status(pod, one, false))
    const lost = this.nodes.get(pod.node)?.lost === true
    return {
      metadata: {
        name: pod.name,
        ...(pod.template.metadata?.labels === undefined
          ? {}
          : { labels: pod.template.metadata.labels }),
        ...(pod.template.metadata?.annotations === undefined
          ? {}
          : { annotations: pod.template.metadata.annotations }),
      },
      spec: { ...spec, nodeName: pod.node },
      status: {
        phase: pod.ready ? 'Running' : 'Pending',
        conditions: [
          { type: 'Ready', status: pod.ready && !lost ? 'True' : 'False' },
          { type: 'ContainersReady', status: pod.ready ? 'True' : 'False' },
        ],
        initContainerStatuses: init,
        containerStatuses: containers,
      },
    }
  }

  /** The kubelet names the last image of a container that failed. */
  #blamed(pod: SimPod, container: Container): string {
    const mounts = new Set(mountsOf(container))
    const failed = imageVolumes(pod.template.spec).filter(
      ({ name }) => mounts.has(name) && pod.states.get(`volume ${name}`) === 'failed',
    )
    return failed.at(-1)?.reference ?? container.image ?? ''
  }

  #status(pod: SimPod, container: Container, isInit: boolean): ContainerStatus {
    const { name, image = '' } = container
    const imageID = `sha256:${image}`
    switch (pod.states.get(name)) {
      case 'started':
        return isInit
          ? { name, imageID, state: { terminated: { exitCode: 0, reason: 'Completed' } } }
          : { name, imageID, ready: true, state: { running: { startedAt: '' } } }
      case 'unstartable':
        return { name, imageID: '', state: { waiting: { reason: 'CreateContainerError' } } }
      case 'failed':
        return {
          name,
          imageID: '',
          state: {
            waiting: {
              reason: 'ErrImagePull',
              message: `${this.#blamed(pod, container)}: not found`,
            },
          },
        }
      default:
        return { name, imageID: '', state: { waiting: { reason: 'PodInitializing' } } }
    }
  }
}

function containersOf(pod: SimPod): readonly Container[] {
  const { initContainers = [], containers = [] } = pod.template.spec ?? {}
  return [...initContainers, ...containers]
}

function imageVolumes(spec: PodSpec = {}): readonly {
  name: string
  reference: string
  pullPolicy: string | undefined
}[] {
  return (spec.volumes ?? []).flatMap(({ name, image }) =>
    image?.reference === undefined
      ? []
      : [{ name, reference: image.reference, pullPolicy: image.pullPolicy }],
  )
}

function mountsOf({ volumeMounts = [] }: Container): readonly string[] {
  return volumeMounts.map(({ name }) => name)
}

function isOwn({ name }: Container): boolean {
  return name === 'copy-sleep' || name === 'holder'
}
