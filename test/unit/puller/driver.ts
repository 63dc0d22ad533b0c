import type { PullerSettings } from '../../../src/config/settings.ts'
import { type Architectures, whereOf } from '../../../src/puller/architectures.ts'
import {
  buildDaemonSet,
  fingerprintOf,
  type ObservedShard,
  readDaemonSet,
} from '../../../src/puller/daemon-set.ts'
import { blank } from '../../../src/puller/memory.ts'
import { defaultPace, type Pace } from '../../../src/puller/pace.ts'
import { type Change, type Plan, plan } from '../../../src/puller/plan.ts'
import { createPodProjection } from '../../../src/puller/pod-view.ts'
import type { StrategyName } from '../../../src/puller/strategies/strategies.ts'
import type { Wanted } from '../../../src/puller/wanted.ts'
import type { SimulatedCluster } from './simulated-cluster.ts'

export const pullerSettings: PullerSettings = Object.freeze({
  enabled: true,
  mode: 'own',
  externalNamespace: '',
  externalConfigMap: 'k8s-image-puller',
  externalDeployment: 'kubernetes-image-puller',
  images: [],
  strategy: 'init',
  podsPerNode: 3,
  shards: 2,
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

/** A puller without a network: looks at the simulated cluster, plans, writes, one second a round. */
export class Driver {
  readonly cluster: SimulatedCluster
  wanted: ReadonlyMap<string, Wanted> = new Map()
  settings = pullerSettings
  /** Platforms of images that do not run everywhere. */
  readonly platforms = new Map<string, readonly string[]>()
  strategy: StrategyName = 'init'
  pace: Pace = defaultPace
  /** Shards that what is held for good is spread over. */
  spread = 1
  last: Plan | undefined
  /** Called for every change before it is written; false loses the write and all after it of the round. */
  allow: (change: Change) => boolean = () => true
  seconds = 0
  #memory = blank
  readonly #project = createPodProjection()
  #applied = new Map<string, ObservedShard>()

  constructor(cluster: SimulatedCluster) {
    this.cluster = cluster
  }

  /** As after a crash: nothing is left but the cluster. */
  restart(): void {
    this.#memory = blank
    this.#applied = new Map()
  }

  round(): Plan {
    const options = {
      namespace: 'kip',
      settings: this.settings,
      strategy: this.strategy,
      owner: undefined,
    }
    const shards = [...this.cluster.daemonSets.values()].flatMap(
      (object) => readDaemonSet(object, this.settings.daemonSetName) ?? [],
    )
    const names = new Set(shards.map(({ name }) => name))
    const vanished = [...this.#applied.values()].filter(({ name }) => !names.has(name))
    const nodes = this.cluster.nodes
    const architectures: Architectures = {
      present: new Set([...nodes.values()].map(({ architecture }) => architecture)),
      of: (node) => nodes.get(node)?.architecture,
    }
    const wanted = new Map<string, Wanted>()
    for (const [reference, item] of this.wanted) {
      const where = whereOf(this.platforms.get(reference), architectures)
      if (where !== undefined) wanted.set(reference, where === '' ? item : { ...item, where })
    }
    const next = plan({
      wanted,
      architectures,
      shards: [
        ...shards,
        ...vanished.map((shard) => ({ ...shard, uid: '', fingerprint: '', desired: 0 })),
      ],
      taken: new Set(),
      pods: this.cluster.pods().flatMap((pod) => this.#project(pod) ?? []),
      memory: this.#memory,
      base: this.settings.daemonSetName,
      strategy: this.strategy,
      podsPerNode: this.settings.podsPerNode,
      spread: this.spread,
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
    }
    this.last = next
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
