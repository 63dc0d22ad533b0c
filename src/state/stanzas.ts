import { isDeepStrictEqual } from 'node:util'
import { boundCondition, boundMirrors, boundNodes, boundSource, boundUsage } from './bounds.ts'
import type { Condition, ImageState, Mirror, Nodes, Source, Usage } from './cached-image.ts'

/** Who writes what of a status: one field manager a stanza, so that none can undo another's. */
export type FieldManager = 'kip-discovery' | 'kip-resolver' | 'kip-mirror' | 'kip-puller'

type Verdict = Pick<Condition, 'type' | 'status' | 'reason' | 'message'>

/**
 * The state after discovery wrote `usage`.
 *
 * Like the other three: the same object when nothing would change, so that nothing is written then.
 */
export function withUsage(image: ImageState, usage: Usage): ImageState {
  return changed(image, {
    ...image,
    usage: boundUsage(usage),
    conditions: image.conditions.filter(({ type }) => type !== 'Duplicate'),
  })
}

/** The state after the resolver wrote `source`; a new `checkedAt` alone is no change. */
export function withSource(image: ImageState, source: Source, now: number): ImageState {
  const bounded = boundSource(source)
  const checkedAt = image.source?.checkedAt
  if (checkedAt !== undefined && isDeepStrictEqual(image.source, { ...bounded, checkedAt })) {
    return image
  }
  const conditions = withCondition(image.conditions, resolvedVerdict(bounded), now)
  return { ...image, source: bounded, conditions }
}

/** The state after the mirror wrote the entry of one backup registry. */
export function withMirror(image: ImageState, mirror: Mirror, now: number): ImageState {
  const known = image.mirrors.some(({ registry }) => registry === mirror.registry)
  const mirrors = known
    ? image.mirrors.map((entry) => (entry.registry === mirror.registry ? mirror : entry))
    : [...image.mirrors, mirror]
  return changed(image, {
    ...image,
    mirrors: boundMirrors(mirrors, mirror.registry),
    conditions: withCondition(image.conditions, mirroredVerdict(mirror), now),
  })
}

/** The state after the puller wrote `nodes`. */
export function withNodes(image: ImageState, nodes: Nodes, now: number): ImageState {
  return changed(image, {
    ...image,
    nodes: boundNodes(nodes),
    conditions: withCondition(image.conditions, cachedVerdict(nodes), now),
  })
}

/** The conditions of the second object of one reference, beside which the first is used. */
export function withDuplicate(
  conditions: readonly Condition[],
  first: string,
  now: number,
): readonly Condition[] {
  const message = `${first} stands for the same reference and is used`
  return withCondition(
    conditions,
    { type: 'Duplicate', status: 'True', reason: 'SameReference', message },
    now,
  )
}

/** The part of a status that one manager owns, whole, as its server-side apply carries it. */
export function stanzaOf(image: ImageState, manager: FieldManager): Record<string, unknown> {
  const conditions = image.conditions.filter(({ type }) => managerOf[type] === manager)
  const own = conditions.length === 0 ? {} : { conditions }
  switch (manager) {
    case 'kip-discovery':
      return { ...summarised('usage', image.usage, usersSummary), ...own }
    case 'kip-resolver':
      return { ...summarised('source', image.source, sizeSummary), ...own }
    case 'kip-mirror':
      return { ...(image.mirrors.length === 0 ? {} : { mirrors: image.mirrors }), ...own }
    case 'kip-puller':
      return {
        ...summarised('nodes', image.nodes, ({ cached, desired }) => `${cached}/${desired}`),
        ...own,
      }
  }
}

const managerOf: Readonly<Record<Condition['type'], FieldManager>> = {
  Duplicate: 'kip-discovery',
  Resolved: 'kip-resolver',
  Mirrored: 'kip-mirror',
  Cached: 'kip-puller',
}

/** A stanza with the text that `kubectl get` shows of it, since a column can compute nothing. */
function summarised<T extends object>(
  key: string,
  stanza: T | undefined,
  summary: (stanza: T) => string,
): Record<string, unknown> {
  if (stanza === undefined) return {}
  const text = summary(stanza)
  return { [key]: { ...stanza, ...(text === '' ? {} : { summary: text }) } }
}

function usersSummary(usage: Usage): string {
  const [owner] = usage.owners
  if (owner !== undefined && usage.lastSeen === undefined) {
    const more = usage.workloads - 1
    return `${owner.namespace}/${owner.name}${more > 0 ? ` +${more}` : ''}`
  }
  if (usage.wanted.includes('Static')) return 'IMAGES'
  if (usage.wanted.includes('Requested')) return 'request'
  return 'unused'
}

function sizeSummary({ sizeBytes }: Source): string {
  if (sizeBytes === undefined) return ''
  if (sizeBytes < 1000) return `${sizeBytes} B`
  const units = ['kB', 'MB', 'GB', 'TB']
  let value = sizeBytes / 1000
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${value.toFixed(value < 9.95 ? 1 : 0)} ${units[unit]}`
}

function resolvedVerdict(source: Source): Verdict {
  const { state, digest, message } = source
  const status = state === 'Available' ? 'True' : state === 'Unreachable' ? 'Unknown' : 'False'
  return { type: 'Resolved', status, reason: state, message: message ?? digest ?? '' }
}

function mirroredVerdict(mirror: Mirror): Verdict {
  const { state, reference, code, message } = mirror
  const done = state === 'Verified'
  const status = done ? 'True' : state === 'Failed' || state === 'Blocked' ? 'False' : 'Unknown'
  return {
    type: 'Mirrored',
    status,
    reason: code ?? state,
    message: message ?? (done ? `verified at ${reference}` : ''),
  }
}

function cachedVerdict(nodes: Nodes): Verdict {
  const { desired, cached, failed, failures, reason: held } = nodes
  const message = `${cached} of ${desired} nodes hold it`
  if (held !== undefined) {
    return {
      type: 'Cached',
      status: 'False',
      reason: held,
      message:
        held === 'CopyNotPulled'
          ? `${message}, and those that tried its copy failed`
          : `${message}, others are not asked`,
    }
  }
  if (failed > 0) {
    const reason = failures[0]?.reason ?? 'Failed'
    return { type: 'Cached', status: 'False', reason, message: `${message}, ${failed} failed` }
  }
  if (desired > 0 && cached >= desired) {
    return { type: 'Cached', status: 'True', reason: 'OnEveryNode', message }
  }
  const reason = desired === 0 ? 'NoNodes' : 'Pulling'
  return { type: 'Cached', status: 'Unknown', reason, message }
}

function withCondition(
  conditions: readonly Condition[],
  verdict: Verdict,
  now: number,
): readonly Condition[] {
  const before = conditions.find(({ type }) => type === verdict.type)
  const lastTransitionTime =
    before?.status === verdict.status ? before.lastTransitionTime : timestamp(now)
  const condition = boundCondition({ ...verdict, lastTransitionTime })
  return [...conditions.filter(({ type }) => type !== verdict.type), condition].sort((a, b) =>
    a.type < b.type ? -1 : 1,
  )
}

/** RFC 3339 in whole seconds, as metav1.Time writes it. */
export function timestamp(now: number): string {
  return `${new Date(now).toISOString().slice(0, 19)}Z`
}

function changed(before: ImageState, after: ImageState): ImageState {
  const same =
    isDeepStrictEqual(before.usage, after.usage) &&
    isDeepStrictEqual(before.mirrors, after.mirrors) &&
    isDeepStrictEqual(before.nodes, after.nodes) &&
    isDeepStrictEqual(before.conditions, after.conditions)
  return same ? before : after
}
