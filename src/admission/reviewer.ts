import { verdict } from '../decide/codes.ts'
import { rememberPlaces } from '../decide/place.ts'
import { decideRewrite, type RewriteVerdict } from '../decide/rewrite.ts'
import { type DecisionSettings, subjectOf } from '../decide/subject.ts'
import type { Mapping } from '../images/mapping.ts'
import type { ImageUse } from '../images/walker.ts'
import type { ObjectMeta, Pod } from '../kube/types.ts'
import { ignoreFlag, isIgnored } from '../state/flags.ts'
import type { ImageStore } from '../state/store.ts'
import type { Outcome } from './admission-metrics.ts'
import { auditText } from './audit.ts'
import { type ImageOutcome, mutate } from './mutate.ts'
import type { PodChange } from './pod.ts'
import type { Answer } from './review.ts'

export interface ReviewerOptions {
  readonly store: Pick<ImageStore, 'get'>
  readonly exclusions: { excluded(namespace: string): boolean }
  /** Whether a pod belongs to a workload that bears the opt-out flag itself; absent: only pods' own flags count. */
  readonly workloads?:
    | { ownsPod(pod: ObjectMeta | undefined, namespace: string): boolean }
    | undefined
  readonly mapping: Mapping
  readonly settings: DecisionSettings
}

export interface Verdict extends Answer {
  readonly outcome: Outcome
  readonly images: readonly ImageOutcome[]
  /** Normalised references that have no copy yet, and may get one when they are looked at. */
  readonly awaited: readonly string[]
}

/** Decides on a pod, from memory and without side effects. */
export type Reviewer = (change: PodChange, namespace: string) => Verdict

/** The API server's mark of a mirror pod, its picture of a static pod. */
const mirrorPodAnnotation = 'kubernetes.io/config.mirror'

const awaitedCodes: ReadonlySet<string> = new Set(['UnknownImage', 'NotMirrored', 'CopyOutdated'])

/** Makes the function that decides on pods. */
export function createReviewer(options: ReviewerOptions): Reviewer {
  const { store, exclusions, workloads, mapping, settings } = options
  const placeOf = rememberPlaces(mapping)

  /** Why the pod as a whole is none of kip's business, whatever its images. */
  function reasonToLeave({ metadata }: Pod, namespace: string): Outcome | undefined {
    if (!settings.admission.enabled || settings.admission.rewrite === 'never') return 'RewriteNever'
    if (mapping.registry === '') return 'NoBackup'
    if (exclusions.excluded(namespace)) return 'NamespaceExcluded'
    if (metadata?.annotations?.[mirrorPodAnnotation] !== undefined) return 'StaticPod'
    if (isIgnored(metadata) || workloads?.ownsPod(metadata, namespace) === true) return 'OptedOut'
    return undefined
  }

  function decideUse({ reference, pullPolicy }: ImageUse): RewriteVerdict {
    const place = placeOf(reference)
    if (place === undefined) return verdict(false, 'InvalidReference')
    const subject = subjectOf(place, store.get(place.text), mapping)
    return decideRewrite(subject, settings, pullPolicy === undefined ? {} : { pullPolicy })
  }

  /** Normalised references of the images that a copy may come of. */
  function awaitedOf(images: readonly ImageOutcome[]): readonly string[] {
    const references = images.flatMap(({ use, code }) =>
      awaitedCodes.has(code) ? (placeOf(use.reference)?.text ?? []) : [],
    )
    return [...new Set(references)]
  }

  return (change, namespace) => {
    const warnings = flagWarnings(change.pod)
    const reason = reasonToLeave(change.pod, namespace)
    if (reason !== undefined) return { ...left(reason), warnings }
    const { patch, images } = mutate(change, { decide: decideUse, mapping })
    const rewritten = images.some(({ copy }) => copy !== undefined)
    const outcome = rewritten ? 'Rewritten' : 'Unchanged'
    return {
      outcome,
      patch,
      images,
      warnings,
      auditAnnotations: { outcome, ...(images.length > 0 && { images: auditText(images) }) },
      awaited: awaitedOf(images),
    }
  }
}

/** An answer that leaves the pod as it is. */
export function left(outcome: Outcome): Verdict {
  return {
    outcome,
    patch: [],
    images: [],
    awaited: [],
    warnings: [],
    auditAnnotations: { outcome },
  }
}

/** A flag with any other value than the two that mean something is a mistake that nothing else would tell of. */
function flagWarnings({ metadata }: Pod): readonly string[] {
  const values = [metadata?.labels?.[ignoreFlag], metadata?.annotations?.[ignoreFlag]]
  return values.some((value) => value !== undefined && value !== 'true' && value !== 'false')
    ? [`kip: ${ignoreFlag} on the pod has no effect, its value is neither "true" nor "false"`]
    : []
}
