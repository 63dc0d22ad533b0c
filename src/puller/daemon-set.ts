import type { PullerSettings } from '../config/settings.ts'
import { readTexts } from '../kube/annotations.ts'
import type { DaemonSet, OwnerReference } from '../kube/types.ts'
import { type Cramped, isForCramped, notCramped } from './cramped.ts'
import { contentHash, noted, wordsOf } from './notes.ts'
import { formatPlacing, parsePlacing } from './placing.ts'
import { buildPodTemplate, movedAnnotation, templateAnnotation } from './pod-template.ts'
import {
  isResident,
  labelValue,
  type Member,
  objectNames,
  type Shard,
  type ShardKind,
  shardName,
} from './shard.ts'
import { type StrategyName, strategyOfTemplate } from './strategies/strategies.ts'
import { partsOf } from './where.ts'

/** Labels by which kip finds what is its own: all parts of a puller, and the DaemonSet that a pod belongs to. */
export const partLabel = 'images.kip/part'
/** Says of DaemonSets and pods whose they are: its value is the name of the first DaemonSet. */
export const pullerLabel = 'images.kip/puller'
/** Says of a DaemonSet and its pods which shard they belong to. */
export const shardLabel = 'images.kip/shard'
const kindLabel = 'images.kip/shard-kind'
const indexLabel = 'images.kip/shard-index'
const architecturesLabel = 'images.kip/shard-architectures'
const placingLabel = 'images.kip/shard-placing'

/** Annotation of a DaemonSet: a hash of all that kip says of it, so that what is unchanged is not written again. */
export const fingerprintAnnotation = 'images.kip/fingerprint'
/** Annotation of a DaemonSet: which nodes its placing means, as JSON. */
const placingAnnotation = 'images.kip/placing'
/** Annotation of a DaemonSet: names of the only nodes that it is for as yet. */
const firstAnnotation = 'images.kip/first'
/** Annotation of a DaemonSet: types of nodes that it leaves out since they take few pods. */
const withoutAnnotation = 'images.kip/without-types'
/** Annotation of a DaemonSet: what its tags were when the nodes were asked for them, by container, as JSON. */
const digestsAnnotation = 'images.kip/digests'
/** Annotation of a DaemonSet: Secrets that earlier pods pulled with, to be removed when these are gone. */
const formerAnnotation = 'images.kip/former-credentials'
/** Annotation of a DaemonSet that took the place of another: which one it is in the row. */
const revisionAnnotation = 'images.kip/revision'

/** A DaemonSet as the API server has it, as far as placing images depends on it. */
export interface ObservedShard extends Shard {
  /** The shard's name, whatever the name of the DaemonSet. */
  readonly name: string
  /** The DaemonSet's name: the shard's, or that of a successor. */
  readonly object: string
  /** Counts successors from 1 on; 0: one that is changed in place. */
  readonly revision: number
  readonly uid: string
  readonly resourceVersion: string
  readonly fingerprint: string
  /** Hash of the template that new pods get. */
  readonly template: string
  readonly generation: number
  readonly observedGeneration: number
  /** Nodes that should run a pod of it, as the DaemonSet controller counts them. */
  readonly desired: number
  /** Nodes of those whose oldest pod is ready, and is of the present template. */
  readonly ready: number
  readonly updated: number
  readonly created: string
  readonly deleting: boolean
  /** Its controller rolls nothing, and makes pods with back-off where kubelets refuse them. */
  readonly paused?: boolean
  /** Types of nodes that it leaves out since they take few pods. */
  readonly without?: readonly string[]
  /** Names of the Secrets that its new pods pull with. */
  readonly pullSecrets: readonly string[]
  /** Of those that its earlier pods pulled with. */
  readonly formerSecrets: readonly string[]
}

export interface DaemonSetOptions {
  readonly namespace: string
  readonly settings: PullerSettings
  /** What the setting came to here and now. */
  readonly strategy: StrategyName
  readonly owner: OwnerReference | undefined
  /** The cluster chooses the user of pods; default false: they name theirs. */
  readonly assignsUsers?: boolean
  /** Nodes that take few pods; default: none. */
  readonly cramped?: Cramped
  /** Secrets that the pods pull with besides those of the settings. */
  readonly pullSecrets?: readonly string[]
  /** Secrets that pods of earlier templates may still pull with. */
  readonly formerSecrets?: readonly string[]
}

/** Which DaemonSet of a shard is meant: see {@link ObservedShard}. Default: the first, changed in place. */
export type ShardObject = Pick<ObservedShard, 'object' | 'revision' | 'paused'>

/**
 * The DaemonSet of a shard, as it is applied: the same input gives the same bytes.
 *
 * While it rolls, each node keeps its old pod until the new one is ready (maxUnavailable 0). How many nodes roll at once is
 * said by {@link surgeOf}.
 */
export function buildDaemonSet(
  shard: Shard & Partial<ShardObject>,
  options: DaemonSetOptions,
): DaemonSet {
  const { namespace, settings, owner, strategy, assignsUsers = false, pullSecrets = [] } = options
  const { formerSecrets = [], cramped = notCramped } = options
  const without = isForCramped(shard, cramped) ? [] : cramped.types
  const { object, revision = 0, paused = false } = shard
  const name = object ?? shardName(settings.daemonSetName, shard.kind, shard.index, shard.where)
  const selector = {
    'app.kubernetes.io/name': 'image-puller',
    [shardLabel]: labelValue(name),
  }
  const labels = {
    ...selector,
    [partLabel]: 'puller',
    [pullerLabel]: labelValue(settings.daemonSetName),
  }
  const spec = {
    selector: { matchLabels: selector },
    // A revision is a copy of the template; nobody rolls a shard back by hand.
    revisionHistoryLimit: 1,
    updateStrategy: paused
      ? { type: 'OnDelete' }
      : {
          type: 'RollingUpdate',
          rollingUpdate: { maxSurge: surgeOf(shard, settings), maxUnavailable: 0 },
        },
    template: buildPodTemplate(shard, labels, settings, {
      chosen: strategy,
      assignsUsers,
      pullSecrets,
      without,
    }),
  }
  const metadata = {
    name,
    namespace,
    labels: {
      ...labels,
      [kindLabel]: shard.kind,
      [indexLabel]: String(shard.index),
      ...whereLabels(shard),
    },
    annotations: {
      ...settings.daemonSetAnnotations,
      ...(revision === 0 ? {} : { [revisionAnnotation]: String(revision) }),
      ...(shard.placing === undefined ? {} : { [placingAnnotation]: formatPlacing(shard.placing) }),
      ...(shard.first === undefined ? {} : { [firstAnnotation]: shard.first.join(' ') }),
      ...(without.length === 0 ? {} : { [withoutAnnotation]: without.join(' ') }),
      ...noted(digestsAnnotation, shard.members, ({ digest }) => digest),
      ...(formerSecrets.length === 0 ? {} : { [formerAnnotation]: formerSecrets.join(' ') }),
    },
    ...(owner === undefined ? {} : { ownerReferences: [owner] }),
  }
  const fingerprint = contentHash({ metadata, spec })
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: {
      ...metadata,
      annotations: { ...metadata.annotations, [fingerprintAnnotation]: fingerprint },
    },
    spec,
  }
}

/**
 * How many nodes roll at once. Of what stands for good a quarter: a node then runs two holders for as long as an init chain
 * takes, and a thousand nodes take four such times, not a thousand as with maxSurge 1. Of what nodes are to pull, as many as
 * the registry is to bear. Where images fail, all: nodes that never get ready are not to keep the others waiting.
 */
function surgeOf({ kind, unpaced }: Shard, { nodesAtOnce }: PullerSettings): string | number {
  if (isResident(kind)) return '25%'
  return unpaced !== true && (kind === 'fresh' || kind === 'refresh') ? nodesAtOnce : allNodes
}

const allNodes = '100%'

/** The fingerprint that {@link buildDaemonSet} writes for a shard. */
export function fingerprintOf(
  shard: Shard & Partial<ShardObject>,
  options: DaemonSetOptions,
): string {
  return buildDaemonSet(shard, options).metadata?.annotations?.[fingerprintAnnotation] ?? ''
}

/**
 * Reads a shard back from its DaemonSet: which images it holds is what its template says, nothing else.
 *
 * @param base the puller's DaemonSet name
 * @returns undefined when the DaemonSet is none of this puller's
 */
export function readDaemonSet(daemonSet: DaemonSet, base: string): ObservedShard | undefined {
  const { metadata, spec, status } = daemonSet
  const labels = metadata?.labels ?? {}
  const kind = labels[kindLabel]
  const index = Number(labels[indexLabel])
  const id = labels[placingLabel]
  const placing =
    id === undefined ? undefined : parsePlacing(id, metadata?.annotations?.[placingAnnotation])
  const architectures = labels[architecturesLabel]
  if (labels[partLabel] !== 'puller' || labels[pullerLabel] !== labelValue(base)) return undefined
  if (!isKind(kind) || !Number.isInteger(index) || index < 1) return undefined
  // Of one that cannot be read it is not known which nodes it is for: it is left alone as somebody else's.
  if (id !== placing?.id) return undefined
  const where =
    id === undefined && architectures === undefined
      ? undefined
      : [id, architectures].filter((part) => part !== undefined).join('-')
  const object = metadata?.name ?? ''
  const name = shardName(base, kind, index, where)
  if (!objectNames(name).includes(object)) return undefined
  const template = spec?.template ?? {}
  const surge = spec?.updateStrategy?.rollingUpdate?.maxSurge
  const first = wordsOf(metadata?.annotations?.[firstAnnotation])
  const without = wordsOf(metadata?.annotations?.[withoutAnnotation])
  const digests = readTexts(metadata?.annotations?.[digestsAnnotation])
  const moves = readTexts(template.metadata?.annotations?.[movedAnnotation])
  const named = strategyOfTemplate(template)?.members(template.spec ?? {}) ?? []
  const members: readonly Member[] = named.map((member) => {
    const digest = digests.get(member.container)
    const moved = moves.get(member.container)
    return {
      ...member,
      ...(digest === undefined ? {} : { digest }),
      ...(moved === undefined ? {} : { moved }),
    }
  })
  return {
    name,
    object,
    revision: Number(metadata?.annotations?.[revisionAnnotation] ?? 0) || 0,
    kind,
    index,
    ...(where === undefined ? {} : { where }),
    ...(placing === undefined ? {} : { placing }),
    ...(first.length === 0 ? {} : { first }),
    ...(without.length === 0 ? {} : { without }),
    ...(kind === 'fresh' && surge === allNodes && { unpaced: true }),
    members,
    uid: metadata?.uid ?? '',
    resourceVersion: metadata?.resourceVersion ?? '',
    fingerprint: metadata?.annotations?.[fingerprintAnnotation] ?? '',
    template: template.metadata?.annotations?.[templateAnnotation] ?? '',
    generation: metadata?.generation ?? 0,
    observedGeneration: status?.observedGeneration ?? 0,
    desired: status?.desiredNumberScheduled ?? 0,
    ready: status?.numberReady ?? 0,
    updated: status?.updatedNumberScheduled ?? 0,
    created: metadata?.creationTimestamp ?? '',
    deleting: metadata?.deletionTimestamp !== undefined,
    ...(spec?.updateStrategy?.type === 'OnDelete' && { paused: true }),
    pullSecrets: (template.spec?.imagePullSecrets ?? []).flatMap(({ name }) => name ?? []),
    formerSecrets: wordsOf(metadata?.annotations?.[formerAnnotation]),
  }
}

function whereLabels({ where = '' }: Shard): Readonly<Record<string, string>> {
  const { placing, architectures } = partsOf(where)
  return {
    ...(architectures.length === 0 ? {} : { [architecturesLabel]: architectures.join('-') }),
    ...(placing === '' ? {} : { [placingLabel]: placing }),
  }
}

const kinds: ReadonlySet<string> = new Set([
  'holding',
  'originals',
  'fresh',
  'apart',
  'refresh',
  'private',
])

function isKind(text: string | undefined): text is ShardKind {
  return text !== undefined && kinds.has(text)
}
