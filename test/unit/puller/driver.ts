import type { PullerSettings } from '../../../src/config/settings.ts'
import type { Demand } from '../../../src/images/demand.ts'
import { architecturesOf } from '../../../src/puller/architectures.ts'
import {
  buildDaemonSet,
  fingerprintOf,
  type ObservedShard,
  readDaemonSet,
} from '../../../src/puller/daemon-set.ts'
import { capacityOf } from '../../../src/puller/etcd-budget.ts'
import { groundOf } from '../../../src/puller/ground.ts'
import { blank, countWritten } from '../../../src/puller/memory.ts'
import { defaultPace, type Pace } from '../../../src/puller/pace.ts'
import { type Change, type Plan, plan } from '../../../src/puller/plan.ts'
import { createPodProjection } from '../../../src/puller/pod-view.ts'
import type { StrategyName } from '../../../src/puller/strategies/strategies.ts'
import type { Wanted } from '../../../src/puller/wanted.ts'
import { whereFrom } from '../../../src/puller/where.ts'
import { Whereabouts } from '../../../src/puller/whereabouts.ts'
import type { ImageState } from '../../../src/state/cached-image.ts'
import type { SimulatedCluster } from './simulated-cluster.ts'

export const pullerSettings: PullerSettings = Object.freeze({
  enabled: true,
  mode: 'own',
  externalNamespace: '',
  externalConfigMap: 'k8s-image-puller',
  externalDeployment: 'kubernetes-image-puller',
  images: [],
  strategy: 'init',
  where: 'everywhere',
  rules: [],
  podsPerNode: 3,
  nodesAtOnce: 100,
  shards: 1,
  priorityClass: '',
  privateImages: 'off',
  diskPercent: 50,
  startupTaintSeconds: 0,
  daemonSetName: 'kip',
  daemonSetAnnotations: {},
  deploymentName: '',
  nodeSelector: {},
  affinity: {},
  tolerations: [],
  imagePullSecrets: [],
  sleepImage: 'kip.test/sleep@sha256:0',
  openShift: 'auto',
  cacheOriginals: true,
  intervalHours: 1,
  memoryRequest: '',
  memoryLimit: '',
  cpuRequest: '',
  cpuLimit: '',
} satisfies PullerSettings)

export function want(...references: readonly (string | Wanted)[]): Map<string, Wanted> {
  return new Map(
    references
      .map((item) => (typeof item === 'string' ? { reference: item, bestEffort: false } : item))
      .map((item) => [item.reference, item]),
  )
}

/** An image that nobody asked for by name. */
const inUse: ImageState = {
  reference: '',
  name: '',
  requested: false,
  resourceVersion: '',
  mirrors: [],
  conditions: [],
}

/** A puller without a network: looks at the simulated cluster, plans, writes, one second a round. */
export class Driver {
  readonly cluster: SimulatedCluster
  wanted: ReadonlyMap<string, Wanted> = new Map()
  settings = pullerSettings
  /** Platforms of images that do not run everywhere. */
  readonly platforms = new Map<string, readonly string[]>()
  /** On which nodes the users of an image may run; of one that is not named all. */
  readonly demands = new Map<string, readonly Demand[]>()
  /** Nodes where a roll-out is to bring an image. */
  readonly before = new Map<string, readonly string[]>()
  /** What another mutator changes, asked for in vain. */
  altered: ReadonlySet<string> = new Set()
  strategy: StrategyName = 'init'
  pace: Pace = defaultPace
  /** Shards that what is held for good is spread over. */
  spread = 1
  /** Images that a shard may have. */
  capacityOf: typeof capacityOf = capacityOf
  last: Plan | undefined
  /** What was wanted in the last round, with where it is to be. */
  placed: ReadonlyMap<string, Wanted> = new Map()
  /** Called for every change before it is written; false loses the write and all after it of the round. */
  allow: (change: Change) => boolean = () => true
  seconds = 0
  #memory = blank
  #whereabouts: Whereabouts | undefined
  readonly #project = createPodProjection()
  #applied = new Map<string, ObservedShard>()

  constructor(cluster: SimulatedCluster) {
    this.cluster = cluster
  }

  /** As after a crash: nothing is left but the cluster. */
  restart(): void {
    this.#memory = blank
    this.#applied = new Map()
    this.#whereabouts = undefined
  }

  round(): Plan {
    const shards = [...this.cluster.daemonSets.values()].flatMap(
      (object) => readDaemonSet(object, this.settings.daemonSetName) ?? [],
    )
    const names = new Set(shards.map(({ name }) => name))
    const vanished = [...this.#applied.values()].filter(({ name }) => !names.has(name))
    const nodes = [...this.cluster.nodes.values()].map(({ view }) => view)
    const all = [
      ...shards,
      ...vanished.map((shard) => ({ ...shard, uid: '', fingerprint: '', desired: 0 })),
    ]
    this.#whereabouts ??= new Whereabouts({
      settings: this.settings,
      demandsOf: (reference) => this.demands.get(reference) ?? [{ terms: [], tolerations: [] }],
      narrowMs: this.pace.stuckMs,
    })
    this.#whereabouts.begin(nodes, all, this.seconds * 1000)
    const wanted = new Map<string, Wanted>()
    const known = shards.flatMap(({ without = [] }) => without)
    const { architectures: present } = groundOf(nodes, this.settings, this.#whereabouts.placings)
    for (const [reference, item] of this.wanted) {
      const architectures = architecturesOf(this.platforms.get(reference), {
        architectures: present,
      })
      const placing = this.#whereabouts.choose(reference, inUse, [reference])
      if (architectures === undefined || typeof placing === 'string') continue
      const where = whereFrom({ placing: placing.id, architectures })
      wanted.set(reference, where === '' ? item : { ...item, where })
    }
    const ground = groundOf(nodes, this.settings, this.#whereabouts.placings, known)
    const options = {
      namespace: 'kip',
      settings: this.settings,
      strategy: this.strategy,
      owner: undefined,
      cramped: ground.cramped,
    }
    const next = plan({
      wanted,
      altered: this.altered,
      ground,
      shards: all,
      taken: new Set(),
      pods: this.cluster.pods().flatMap((pod) => this.#project(pod) ?? []),
      memory: this.#memory,
      base: this.settings.daemonSetName,
      strategy: this.strategy,
      podsPerNode: this.settings.podsPerNode,
      capacityOf: this.capacityOf,
      spread: this.spread,
      nodesAtOnce: this.settings.nodesAtOnce,
      firstOn: (reference) => this.before.get(reference) ?? [],
      fingerprint: (shard) => fingerprintOf(shard, options),
      pace: this.pace,
      now: this.seconds * 1000,
    })
    this.#memory = next.memory
    for (const shard of shards) this.#applied.set(shard.name, shard)
    for (const change of next.changes) {
      if (!this.allow(change)) break
      if (change.action === 'delete') {
        this.cluster.delete(change.name)
        this.#applied.delete(change.name)
      } else this.cluster.apply(buildDaemonSet(change.shard, options))
      this.#memory = countWritten(this.#memory, next.bytes.get(change) ?? 0, this.seconds * 1000)
    }
    this.last = next
    this.placed = wanted
    this.cluster.tick()
    this.seconds += 1
    return next
  }

  run(seconds: number, each: (plan: Plan) => void = () => {}): void {
    for (let second = 0; second < seconds; second++) each(this.round())
  }

  /** Runs until nothing changes for three minutes; gives the seconds that it took. */
  settle(limit = 7200): number {
    const start = this.seconds
    let quiet = 0
    let changed = start
    while (quiet < 180) {
      if (this.seconds - start > limit) throw new Error(`not settled after ${limit} s`)
      if (this.round().changes.length === 0) quiet += 1
      else {
        quiet = 0
        changed = this.seconds
      }
    }
    return changed - start
  }
}
