import type { Settings } from '../../config/settings.ts'
import { advice } from '../../decide/advice.ts'
import type { CacheVerdict } from '../../decide/cache.ts'
import type { ReasonCode, Verdict } from '../../decide/codes.ts'
import { decide } from '../../decide/decide.ts'
import { type ExternalData, externalSettings } from '../../decide/external-puller.ts'
import type { Placement, RewriteVerdict } from '../../decide/rewrite.ts'
import { createImageFilter } from '../../images/filter.ts'
import { createMapping, type Mapping } from '../../images/mapping.ts'
import type { Condition, ImageState, NodeFailure, Usage } from '../../state/cached-image.ts'

/** One answer, and what to do about it where it hinders something. */
export interface Told {
  readonly code: string
  readonly text: string
  readonly todo?: string
}

/** What new pods start from, in the namespaces of which it is the same. */
export interface NewPods extends Told {
  /** Empty: in those that no rule names. */
  readonly namespaces: readonly string[]
  /** The copy that they are pointed at; absent: they keep their own image. */
  readonly copy?: string
}

/** All that is told of one image. */
export interface Explanation {
  /** Normalised. */
  readonly reference: string
  /** Name of the CachedImage; absent: there is none. */
  readonly object?: string
  readonly usage?: Pick<Usage, 'wanted' | 'pods' | 'workloads' | 'namespaces' | 'owners'>
  readonly conditions: readonly (Pick<Condition, 'type' | 'status'> & Told)[]
  /** Nodes that failed to pull it, at most ten. */
  readonly failures: readonly NodeFailure[]
  readonly mirror: Told
  /** Absent: kip holds nothing on nodes here. */
  readonly cache?: Told & { readonly references: readonly string[] }
  readonly newPods: readonly NewPods[]
  /** What is not as it should be, by condition or reason; empty: nothing. */
  readonly lacks: readonly string[]
}

export interface ExplainInput {
  /** As written. */
  readonly reference: string
  readonly image: ImageState | undefined
  readonly settings: Settings
  /** Of the puller that holds images in kip's place; absent: kip does. */
  readonly external?: ExternalData | undefined
  /** Where pods that name it stand; empty: anywhere. */
  readonly placements: readonly Placement[]
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** What somebody wants to be so: nothing lacks for it. */
const byWill: ReadonlySet<ReasonCode> = new Set([
  ...(['NoBackup', 'IsBackup', 'RewriteNever', 'SourceAvailable', 'NotWanted'] as const),
  ...(['NamespaceExcluded', 'OptedOut', 'StaticPod', 'OwnPod', 'PullPolicyNever'] as const),
])

/** The reasons behind what a condition says of a source. */
const sourceReasons: Readonly<Record<string, ReasonCode>> = {
  Missing: 'SourceMissing',
  Unreachable: 'SourceUnreachable',
  Invalid: 'SourceInvalid',
}

/** Says of one image what kip does about it, and why: the one decision, and what the status says came of it. Pure. */
export function explain(input: ExplainInput): Explanation {
  const { image, settings, now } = input
  const mapping = createMapping(settings.mirror)
  // A copy is copied and held as what it is a copy of, and pods that name it are left alone.
  const reference = image?.reference ?? input.reference
  const asked = { image, mapping, settings, now }
  const verdicts = (input.placements.length === 0 ? [{}] : input.placements).map((placement) => ({
    namespace: placement.namespace,
    verdict: decide({ ...asked, reference: input.reference, placement }).rewrite,
  }))
  const { mirror } = decide({ ...asked, reference })
  const cache = settings.puller.enabled ? cacheOf({ ...input, reference }, mapping) : undefined
  return {
    reference,
    ...(image && { object: image.name }),
    ...(image?.usage && { usage: image.usage }),
    conditions: (image?.conditions ?? []).map(toldCondition),
    failures: image?.nodes?.failures ?? [],
    mirror: told(mirror),
    ...(cache && {
      cache: { ...told(cache), references: cache.references.map(({ reference }) => reference) },
    }),
    newPods: grouped(verdicts),
    lacks: isOutside(input) ? [] : lacksOf(input, { verdicts, mirror, cache }),
  }
}

function cacheOf(input: ExplainInput, mapping: Mapping): CacheVerdict {
  const { reference, image, settings, external, now } = input
  const asked = { reference, image, mapping, now }
  if (external === undefined) {
    // Whether kubelets check who uses what is known to the puller, whose word it is then.
    const kubeletsCheck = image?.nodes?.reason !== 'MaybePrivate'
    return decide({ ...asked, settings, kubeletsCheck }).cache
  }
  const { cache } = decide({ ...asked, settings: externalSettings(settings, external) })
  return { ...cache, references: cache.references.filter(({ bestEffort }) => !bestEffort) }
}

/** Whether kip is to know nothing of it: discovery leaves it out, or all that name it are left out. */
function isOutside({ image, reference, settings, placements }: ExplainInput): boolean {
  if (image !== undefined) return false
  const isLeftOut = ({ excluded, optedOut }: Placement): boolean =>
    excluded === true || optedOut === true
  const isFound = createImageFilter(settings.discovery)
  return !isFound(reference) || (placements.length > 0 && placements.every(isLeftOut))
}

function told({ act, code, text }: Verdict): Told {
  return { code, text, ...(!act && { todo: plain(advice[code]) }) }
}

function toldCondition({ type, status, reason, message }: Condition): Explanation['conditions'][0] {
  const code = sourceReasons[reason] ?? reason
  const known = status !== 'True' && Object.hasOwn(advice, code)
  return {
    ...{ type, status, code: reason, text: message },
    ...(known && { todo: plain(advice[code as ReasonCode]) }),
  }
}

interface Placed {
  readonly namespace: string | undefined
  readonly verdict: RewriteVerdict
}

function grouped(verdicts: readonly Placed[]): readonly NewPods[] {
  const groups = Map.groupBy(verdicts, ({ verdict }) => verdict.code)
  return [...groups.values()].flatMap((group) => {
    const [first] = group
    if (first === undefined) return []
    const { reference: copy } = first.verdict
    const namespaces = group.flatMap(({ namespace }) => namespace ?? [])
    return [{ ...told(first.verdict), namespaces, ...(copy !== undefined && { copy }) }]
  })
}

interface Verdicts {
  readonly verdicts: readonly Placed[]
  readonly mirror: Verdict
  readonly cache: Verdict | undefined
}

function lacksOf(
  { image, settings, external }: ExplainInput,
  { verdicts, mirror, cache }: Verdicts,
): readonly string[] {
  // Nobody takes back what a part said that has been turned off since, and another puller says nothing.
  const tellsCached = cache !== undefined && external === undefined
  const told = (image?.conditions ?? []).filter(
    ({ type }) =>
      (type !== 'Cached' || tellsCached) &&
      (type !== 'Mirrored' || settings.mirror.registry !== ''),
  )
  const known = new Set<string>(told.map(({ type }) => type))
  const wrong = told.flatMap(({ type, status, reason }) =>
    (status === 'True') === (type === 'Duplicate') ? `${type}: ${reason}` : [],
  )
  const pods = verdicts.flatMap(({ verdict: { act, code } }) =>
    act || byWill.has(code) ? [] : code,
  )
  return [
    ...new Set([
      ...(image === undefined && mirror.code !== 'InvalidReference' ? ['UnknownImage'] : []),
      ...wrong,
      ...(mirror.act && !known.has('Mirrored') ? ['Mirrored: NotMirrored'] : []),
      ...(tellsCached && cache.act && !known.has('Cached') ? ['Cached: not told yet'] : []),
      ...pods,
    ]),
  ]
}

/** Markdown of `docs/` as plain text: of a link its words and where it leads. */
function plain(markdown: string): string {
  return markdown.replace(/\[([^\]]+)\]\(([^)]+)\)/g, (_, words: string, target: string) => {
    return `${words} (${target.startsWith('../') ? target.slice(3) : `docs/${target}`})`
  })
}
