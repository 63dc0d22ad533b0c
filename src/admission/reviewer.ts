import type { AdmissionSettings } from '../config/settings.ts'
import { verdict } from '../decide/codes.ts'
import { rememberPlaces } from '../decide/place.ts'
import { rewritesAnything } from '../decide/policy.ts'
import { decideRewrite, type RewriteVerdict } from '../decide/rewrite.ts'
import { type DecisionSettings, subjectOf } from '../decide/subject.ts'
import type { Mapping } from '../images/mapping.ts'
import { originalKey, originalsAnnotation } from '../images/originals.ts'
import type { ImageUse } from '../images/walker.ts'
import { readTexts } from '../kube/annotations.ts'
import { controllerOf } from '../kube/owner-references.ts'
import type { ObjectMeta, Pod } from '../kube/types.ts'
import { ignoreFlag, isIgnored, mirrorPodAnnotation } from '../state/flags.ts'
import type { ImageStore } from '../state/store.ts'
import type { Outcome } from './admission-metrics.ts'
import { auditText } from './audit.ts'
import { type ImageOutcome, mutate, namesPullSecret } from './mutate.ts'
import type { PodChange } from './pod.ts'
import type { Answer } from './review.ts'

export interface ReviewerOptions {
  readonly store: Pick<ImageStore, 'get'>
  readonly exclusions: { excluded(namespace: string): boolean }
  /** Whether a pod belongs to a workload that bears the opt-out flag itself; absent: only pods' own flags count. */
  readonly workloads?:
    | { ownsPod(pod: ObjectMeta | undefined, namespace: string): boolean }
    | undefined
  /** Owners that rewriting was stopped for; absent: none. */
  readonly stopped?: { has(owner: string): boolean } | undefined
  /** The Secret that copies are pulled with; absent: nodes need none. */
  readonly pullSecret?:
    | {
        readonly name: string
        /** Whether the namespace holds it. */
        in(namespace: string): boolean
      }
    | undefined
  /** Whether pull policies may be changed where the settings say so, see `mayChangePullPolicy`; default false. */
  readonly canChangePolicy?: boolean
  readonly mapping: Mapping
  readonly settings: DecisionSettings & {
    readonly admission: Partial<Pick<AdmissionSettings, 'pullPolicy'>>
  }
}

export interface Verdict extends Answer {
  readonly outcome: Outcome
  readonly images: readonly ImageOutcome[]
  /** Normalised references that have no copy yet, and may get one when they are looked at. */
  readonly awaited: readonly string[]
}

/** Decides on a pod, from memory and without side effects. */
export type Reviewer = (change: PodChange, namespace: string) => Verdict

const awaitedCodes: ReadonlySet<string> = new Set(['UnknownImage', 'NotMirrored', 'CopyOutdated'])

/** Makes the function that decides on pods. */
export function createReviewer(options: ReviewerOptions): Reviewer {
  const { store, exclusions, workloads, stopped, pullSecret, mapping, settings } = options
  const placeOf = rememberPlaces(mapping)
  const rewrites = rewritesAnything(settings.admission)
  let pullPolicy = options.canChangePolicy === true ? settings.admission.pullPolicy : 'keep'

  /** Why the pod as a whole is none of kip's business, whatever its images. */
  function reasonToLeave({ metadata }: Pod, namespace: string): Outcome | undefined {
    if (!rewrites) return 'RewriteNever'
    if (mapping.registry === '') return 'NoBackup'
    if (exclusions.excluded(namespace)) return 'NamespaceExcluded'
    if (metadata?.annotations?.[mirrorPodAnnotation] !== undefined) return 'StaticPod'
    if (isIgnored(metadata) || workloads?.ownsPod(metadata, namespace) === true) return 'OptedOut'
    const owner = stopped && controllerOf(metadata)
    if (owner !== undefined && stopped?.has(owner.uid) === true) return 'RewriteStopped'
    return undefined
  }

  function decideUse(
    { reference, pullPolicy }: ImageUse,
    namespace: string,
    lacksPullSecret: boolean,
  ): RewriteVerdict {
    const place = placeOf(reference)
    if (place === undefined) return verdict(false, 'InvalidReference')
    const subject = subjectOf(place, store.get(place.text), mapping)
    const placement = {
      namespace,
      lacksPullSecret,
      ...(pullPolicy !== undefined && { pullPolicy }),
    }
    return decideRewrite(subject, settings, placement)
  }

  /** A pod that runs takes no new secret: it has to name it already. */
  function lacksPullSecret({ before }: PodChange, namespace: string): boolean {
    if (pullSecret === undefined) return false
    const { name } = pullSecret
    if (before !== undefined && !namesPullSecret(before, name)) return true
    return !pullSecret.in(namespace)
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
    const lacking = lacksPullSecret(change, namespace)
    const { patch, images } = mutate(change, {
      decide: (use) => decideUse(use, namespace, lacking),
      mapping,
      pullSecret: pullSecret?.name,
      pullPolicy,
    })
    // AlwaysPullImages was turned on since.
    if (pullPolicy === 'IfNotPresent' && wasPutBack(change.pod, images)) pullPolicy = 'keep'
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

/** Whether a copy that kip put there, and gave another policy, has `Always` again. */
function wasPutBack({ metadata }: Pod, images: readonly ImageOutcome[]): boolean {
  const originals = readTexts(metadata?.annotations?.[originalsAnnotation])
  return images.some(
    ({ use, code }) =>
      code === 'IsBackup' && use.pullPolicy === 'Always' && originals.has(originalKey(use)),
  )
}

/** A flag with any other value than the two that mean something is a mistake that nothing else would tell of. */
function flagWarnings({ metadata }: Pod): readonly string[] {
  const values = [metadata?.labels?.[ignoreFlag], metadata?.annotations?.[ignoreFlag]]
  return values.some((value) => value !== undefined && value !== 'true' && value !== 'false')
    ? [`kip: ${ignoreFlag} on the pod has no effect, its value is neither "true" nor "false"`]
    : []
}
