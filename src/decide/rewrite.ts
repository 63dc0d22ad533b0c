import { type Verdict, verdict } from './codes.ts'
import { type DecisionSettings, isOutdated, type Subject, verifiedCopy } from './subject.ts'

/** Where a reference stands: the pod and the container, as far as a decision depends on them. */
export interface Placement {
  /** The namespace is excluded. */
  readonly excluded?: boolean
  /** The pod, or the workload that it belongs to, bears the opt-out flag. */
  readonly optedOut?: boolean
  /** A mirror pod: the API server's picture of a static pod. */
  readonly staticPod?: boolean
  /** A pod of kip itself. */
  readonly own?: boolean
  /** `imagePullPolicy` of the container, or `pullPolicy` of the image volume. */
  readonly pullPolicy?: string
}

export interface RewriteVerdict extends Verdict {
  /** With `act`: what the pod is to name instead, the copy by tag and verified digest. */
  readonly reference?: string
}

/** Whether a pod's image is to be pointed at the backup, and to what. */
export function decideRewrite(
  subject: Subject,
  settings: DecisionSettings,
  placement: Placement = {},
): RewriteVerdict {
  if (!settings.admission.enabled || settings.admission.rewrite === 'never') {
    return verdict(false, 'RewriteNever')
  }
  const leave = leftAlone(placement)
  if (leave !== undefined) return leave
  const copy = verifiedCopy(subject)
  if (typeof copy !== 'string') return copy
  if (isOutdated(subject)) return verdict(false, 'CopyOutdated')
  return { ...verdict(true, 'Rewritten'), reference: copy }
}

function leftAlone(placement: Placement): Verdict | undefined {
  if (placement.excluded === true) return verdict(false, 'NamespaceExcluded')
  if (placement.own === true) return verdict(false, 'OwnPod')
  if (placement.staticPod === true) return verdict(false, 'StaticPod')
  if (placement.optedOut === true) return verdict(false, 'OptedOut')
  if (placement.pullPolicy === 'Never') return verdict(false, 'PullPolicyNever')
  return undefined
}
