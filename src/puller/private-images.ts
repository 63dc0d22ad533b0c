import type { PullIdentity } from '../discovery/discovery.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import type { Log } from '../kube/log.ts'
import type { DaemonSet } from '../kube/types.ts'
import type { Nodes } from '../state/cached-image.ts'
import { type Alterations, alteredInPods } from './altered-images.ts'
import { containerName } from './container-names.ts'
import { CredentialCopies, copyOf } from './credential-copies.ts'
import { dockerConfigFor } from './credentials.ts'
import { buildDaemonSet, fingerprintAnnotation, type ObservedShard } from './daemon-set.ts'
import { capacityOf } from './etcd-budget.ts'
import { nodesOf, nowhere } from './node-status.ts'
import type { Pace } from './pace.ts'
import { templateAnnotation } from './pod-template.ts'
import type { PodView } from './pod-view.ts'
import { type Bench, benched, blankBench, judge, type Tried } from './private-bench.ts'
import {
  type HeldPairs,
  type PrivateMember,
  type PrivatePlan,
  planPrivate,
} from './private-plan.ts'
import { labelValue, type Member, type Shard, shardName, sortMembers } from './shard.ts'
import { type StrategyName, strategyOf } from './strategies/strategies.ts'
import { type Survey, survey } from './survey.ts'
import { refreshMs, UserCredentials } from './user-credentials.ts'
import { holds } from './verdict.ts'

export interface PrivateImagesOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** The puller's DaemonSet name. */
  readonly base: string
  readonly log: Log
  readonly clock: Clock
  readonly pace: Pace
  /** With which pull secrets an image's pods come; undefined: not known yet. */
  readonly identitiesOf: (
    references: Iterable<string>,
  ) => ReadonlyMap<string, readonly PullIdentity[]> | undefined
  /** Another round is called for. */
  readonly onChange: () => void
}

/** What one round sees. */
export interface PrivateScene {
  /** Images that need credentials and that nobody put into `IMAGES`, with the pods that use them. */
  readonly wanted: ReadonlyMap<string, { readonly uses: number; readonly before?: Nodes }>
  /** Private shards. */
  readonly shards: readonly ObservedShard[]
  /** Pods of these. */
  readonly pods: readonly PodView[]
  /** Whether they may be held at all: every kubelet checks who uses them, or the user wants no check. */
  readonly allowed: boolean
  /** Names of shards whose pods kubelets refuse. */
  readonly paused: ReadonlySet<string>
  /** Shards that may be there. */
  readonly layers: number
  /** Nodes that each of them is for. */
  readonly nodeCount: number
  readonly strategy: StrategyName
  /** DaemonSets as they are built now. */
  readonly building: Parameters<typeof buildDaemonSet>[1]
}

/** One shard as it is to be, and with what it pulls. */
export interface PrivateChange {
  readonly action: 'apply' | 'delete'
  readonly name: string
  readonly observed: ObservedShard | undefined
  /** Of one that is to go, what it is. */
  readonly shard: Shard
  /** It makes pods anew. */
  readonly rolls: boolean
  readonly build: (object: string) => DaemonSet
  /** Makes the Secret that the DaemonSet names, if it is not there. */
  readonly copy: (ownerUid: string, signal: AbortSignal) => Promise<void>
}

export interface PrivateRound {
  readonly changes: readonly PrivateChange[]
  /** Shards that are as they are to be, unless somebody else changed them. */
  readonly kept: readonly PrivateChange[]
  /** Other changes wait for company. */
  readonly isGathering: boolean
  /** Where each wanted image stands. */
  readonly nodes: ReadonlyMap<string, Nodes>
  /** What pods do not name, since something else at the API server changes it. */
  readonly altered: Alterations
  /** Shards that are there, or are to be. */
  readonly shards: number
  /** What etcd stores of their images. */
  readonly storedBytes: number
  /** Milliseconds after which time alone calls for another round. */
  readonly nextMs: number
}

/**
 * Images that need credentials, held with those of the pods that use them: kubelets then let in who shows the same, also
 * while the registry is down (KEP-2535), and nobody else.
 */
export class PrivateImages {
  readonly #options: PrivateImagesOptions
  readonly #copies: CredentialCopies
  readonly #users: UserCredentials
  #bench: Bench = blankBench
  /** Since when there is something that makes pods anew. */
  #rollsSince: number | undefined

  constructor(options: PrivateImagesOptions) {
    this.#options = options
    this.#copies = new CredentialCopies(options)
    this.#users = new UserCredentials({
      ...options,
      alongside: (shards, signal) => this.#copies.read(shards, signal),
    })
  }

  round(scene: PrivateScene, signal: AbortSignal): PrivateRound {
    const { shards, pods, layers, allowed } = scene
    if (scene.wanted.size === 0 && shards.length === 0) {
      return { ...idle, nodes: new Map() }
    }
    const wanted: PrivateScene['wanted'] = allowed ? scene.wanted : new Map()
    const { clock, pace } = this.#options
    const now = clock.now()
    const { sleepImage, imagePullSecrets } = scene.building.settings
    const identity = { namespace: this.#options.namespace, secrets: imagePullSecrets }
    this.#users.refresh(wanted, shards, { reference: sleepImage, identity }, signal)
    const seen = survey(shards, pods)
    const { known } = this.#users
    // Before the users were read nothing is taken from anybody.
    if (known === undefined && wanted.size > 0) {
      const nodes = this.#nodes(scene, seen, undefined, noAlterations, now)
      return { ...idle, nodes, shards: shards.length, nextMs: refreshMs }
    }
    const held = new Map(shards.map((shard) => [shard.index, this.#copies.heldBy(shard)]))
    const outcomes = tried(shards, pods, held)
    this.#bench = judge(this.#bench, outcomes, now, pace)
    const plan = planPrivate(
      [...wanted].map(([reference, { uses }]) => ({
        reference,
        uses,
        credentials: (known?.get(reference)?.credentials ?? []).filter(
          ({ id }) => !benched(this.#bench, reference, id, now),
        ),
      })),
      {
        layers,
        capacity: strategyOf('private', scene.strategy).capacity,
        fill: capacityOf('private', scene.strategy, scene.nodeCount),
        held,
      },
    )
    const all = this.#layers(scene, plan, seen)
    const kept = all.filter(isInPlace)
    const altered = alteredInPods(kept.flatMap(asMeant), pods)
    // With an image that nothing pulls, no roll-out comes to its end.
    const isStuck = outcomes.some(({ failing, held }) => failing && !held)
    const isRolling = !isStuck && shards.some((shard) => !seen.isRolledOut(shard))
    const waitMs = this.#gather(
      all.some((one) => one.rolls),
      isRolling,
      now,
    )
    return {
      changes: all.filter((one) => !kept.includes(one) && (waitMs <= 0 || !one.rolls)),
      kept,
      isGathering: waitMs > 0,
      nodes: this.#nodes(scene, seen, plan, altered, now),
      altered,
      shards: indexesOf(scene, plan).length,
      storedBytes: storedBytes(scene, plan),
      nextMs: wanted.size === 0 ? Number.POSITIVE_INFINITY : waitMs > 0 ? waitMs : refreshMs,
    }
  }

  /**
   * How long what makes pods anew still waits: all of a shard's are made anew for each image and password, so it goes with
   * what comes meanwhile, and after the roll-out before it. In milliseconds; 0: it may go.
   */
  #gather(rolls: boolean, isRolling: boolean, now: number): number {
    const { promoteMs, promoteLatestMs } = this.#options.pace
    this.#rollsSince = rolls ? (this.#rollsSince ?? now) : undefined
    if (this.#rollsSince === undefined) return 0
    return Math.max(0, this.#rollsSince + (isRolling ? promoteLatestMs : promoteMs) - now)
  }

  /** Removes Secrets that the shard's pods no longer pull with. */
  async tidy(
    { shards, pods }: Pick<PrivateScene, 'shards' | 'pods'>,
    signal: AbortSignal,
  ): Promise<void> {
    const seen = survey(shards, pods)
    for (const shard of shards) {
      const current = copyOf(shard)
      if (current === undefined || !seen.isRolledOut(shard)) continue
      await this.#copies.removeOthers(shard.name, current, signal)
    }
  }

  /** Every shard that is there or is to be, save for what waits for another one before it goes. */
  #layers(scene: PrivateScene, plan: PrivatePlan, seen: Survey): readonly PrivateChange[] {
    const observed = new Map(scene.shards.map((shard) => [shard.index, shard]))
    return indexesOf(scene, plan).flatMap((index): readonly PrivateChange[] => {
      const members = plan.layers.get(index) ?? []
      const before = observed.get(index)
      const name = shardName(this.#options.base, 'private', index)
      if (members.length > 0) return [this.#holding(scene, name, index, members, before)]
      return before === undefined || isAwaited(before, plan, seen) ? [] : [ending(before)]
    })
  }

  #holding(
    { building, paused }: PrivateScene,
    name: string,
    index: number,
    members: readonly PrivateMember[],
    observed: ObservedShard | undefined,
  ): PrivateChange {
    const { settings } = building
    const { own } = this.#users
    // Kubelets take the longest key that fits, and then the next: with all of kip's own secrets, a pod's wrong ones would do.
    const content = dockerConfigFor([
      ...members,
      ...own.map((credential) => ({ reference: settings.sleepImage, credential })),
    ])
    const found =
      observed === undefined ? undefined : this.#copies.find(name, content, observed.uid)
    const secret = found ?? this.#copies.newName(name, observed)
    // The note of what is removed by now stays until there is something else to write.
    const formerSecrets =
      observed !== undefined && secret === copyOf(observed)
        ? observed.formerSecrets
        : this.#copies.others(name, secret)
    const shard: Shard = { kind: 'private', index, members: named(members) }
    const build = (object: string): DaemonSet =>
      buildDaemonSet(
        { ...shard, object, paused: paused.has(name) },
        {
          ...building,
          settings: { ...settings, imagePullSecrets: [] },
          pullSecrets: [secret],
          formerSecrets,
        },
      )
    const { template } = build(name).spec ?? {}
    return {
      ...{ action: 'apply', name, observed, shard, build },
      rolls: template?.metadata?.annotations?.[templateAnnotation] !== observed?.template,
      copy: async (ownerUid, signal) => {
        if (this.#copies.find(name, content, ownerUid) !== undefined) return
        await this.#copies.create({ name: secret, shard: name, content, ownerUid }, signal)
      },
    }
  }

  #nodes(
    { wanted, allowed }: PrivateScene,
    seen: Survey,
    plan: PrivatePlan | undefined,
    altered: Alterations,
    now: number,
  ): ReadonlyMap<string, Nodes> {
    const nodes = new Map<string, Nodes>()
    for (const [reference, { before }] of wanted) {
      const known = this.#users.known?.get(reference)
      const isBenched = (known?.credentials ?? []).some(({ id }) =>
        benched(this.#bench, reference, id, now),
      )
      const counts = nodesOf([reference], seen, before, () => isBenched)
      const reason = !allowed
        ? 'NotVerified'
        : plan === undefined || known === undefined
          ? undefined
          : plan.waiting.has(reference)
            ? 'NoRoom'
            : altered.has(reference) && counts.cached < counts.desired
              ? 'Altered'
              : known.someWithout
                ? 'NoCredentials'
                : undefined
      const isPlaced = plan === undefined || isIn(plan, reference) || isBenched
      const stands = allowed && isPlaced ? counts : nowhere
      nodes.set(reference, reason === undefined ? stands : { ...stands, reason })
    }
    return nodes
  }
}

const noAlterations: Alterations = new Map()

/** A round in which there is nothing to do. */
const idle = Object.freeze({
  altered: noAlterations,
  ...{ changes: [], kept: [], isGathering: false, shards: 0, storedBytes: 0 },
  nextMs: Number.POSITIVE_INFINITY,
})

function storedBytes({ strategy, nodeCount }: PrivateScene, { layers }: PrivatePlan): number {
  const images = [...layers.values()].reduce((sum, members) => sum + members.length, 0)
  return images * nodeCount * strategyOf('private', strategy).imageBytes
}

/** Numbers of the shards that are there or are to be, in order. */
function indexesOf({ shards }: PrivateScene, { layers }: PrivatePlan): readonly number[] {
  const filled = [...layers].filter(([, members]) => members.length > 0)
  const all = new Set([...filled.map(([index]) => index), ...shards.map(({ index }) => index)])
  return [...all].sort((a, b) => a - b)
}

function isIn({ layers }: PrivatePlan, reference: string): boolean {
  return [...layers.values()].some((members) => members.some((one) => one.reference === reference))
}

/** Whether a shard that is to go holds on some node what is to be held by another, and is not there yet. */
function isAwaited(shard: ObservedShard, plan: PrivatePlan, seen: Survey): boolean {
  return seen
    .podsOf(shard)
    .some(
      (pod) =>
        !pod.lost &&
        shard.members.some(
          ({ reference }) =>
            isIn(plan, reference) &&
            holds(seen.verdict(pod, reference) ?? 'pending') &&
            !seen.isHeldBeside(pod, reference),
        ),
    )
}

function ending(shard: ObservedShard): PrivateChange {
  return {
    ...{ action: 'delete', name: shard.name, observed: shard, shard, rolls: false },
    build: () => ({}),
    copy: async () => undefined,
  }
}

/** Whether a shard is as kip wrote it last, with a Secret that is there. */
function isInPlace({ action, name, observed, build }: PrivateChange): boolean {
  const fingerprint = build(name).metadata?.annotations?.[fingerprintAnnotation]
  return action === 'apply' && fingerprint === observed?.fingerprint
}

/** A shard that is there, with what kip wrote into it, whatever was stored. */
function asMeant({ observed, shard }: PrivateChange): readonly ObservedShard[] {
  return observed === undefined ? [] : [{ ...observed, members: shard.members }]
}

/** What became of each image in each shard, by pods of its present template. */
function tried(
  shards: readonly ObservedShard[],
  pods: readonly PodView[],
  heldBy: ReadonlyMap<number, HeldPairs>,
): readonly Tried[] {
  return shards.flatMap((shard) => {
    const own = pods.filter(
      (pod) => pod.shard === labelValue(shard.name) && pod.template === shard.template,
    )
    const seen = survey([shard], own)
    return [...(heldBy.get(shard.index) ?? [])].map(([reference, id]) => {
      const { held, failures } = seen.tally(reference)
      return { reference, id, held: held > 0, failing: failures.length > 0 }
    })
  })
}

function named(members: readonly PrivateMember[]): readonly Member[] {
  const taken = new Set<string>()
  const all: Member[] = []
  for (const { reference } of members) {
    const container = containerName(reference, undefined, taken)
    taken.add(container)
    all.push({ reference, container })
  }
  return sortMembers(all)
}
