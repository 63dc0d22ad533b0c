import { type Verdict, verdict } from './codes.ts'
import { policyOf } from './policy.ts'
import {
  type DecisionSettings,
  isOutdated,
  isSourceLost,
  type Subject,
  verifiedCopy,
} from './subject.ts'

/** Where a reference stands: the pod and the container, as far as a decision depends on them. */
export interface Placement {
  /** For the rules that name namespaces; absent: one that no rule names. */
  readonly namespace?: string
  /** The namespace is excluded. */
  readonly excluded?: boolean
  /** The pod, or the workload that it belongs to, bears the opt-out flag. */
  readonly optedOut?: boolean
  /** A mirror pod: the API server's picture of a static pod. */
  readonly staticPod?: boolean
  /** A pod of kip itself. */
  readonly own?: boolean
  /** Rewriting was stopped for the pod's owner. */
  readonly stopped?: boolean
  /** The copy needs a pull secret that the namespace lacks, or that the pod (which runs already) does not name. */
  readonly lacksPullSecret?: boolean
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
  const policy = policyOf(settings.admission, subject.text, placement.namespace ?? '')
  if (policy === 'never') return verdict(false, 'RewriteNever')
  const leave = leftAlone(placement)
  if (leave !== undefined) return leave
  const copy = verifiedCopy(subject)
  if (typeof copy !== 'string') return copy
  if (isOutdated(subject)) return verdict(false, 'CopyOutdated')
  if (policy === 'failover' && !isSourceLost(subject)) return verdict(false, 'SourceAvailable')
  if (placement.lacksPullSecret === true) return verdict(false, 'NoPullSecret')
  if (isOutOfReach(subject, settings)) return verdict(false, 'CopyNotPulled')
  return { ...verdict(true, 'Rewritten'), reference: copy }
}

/** Whether no node could pull the copy with what a pod would have there too; some bring a secret of their own. */
function isOutOfReach({ image }: Subject, { puller, mirror }: DecisionSettings): boolean {
  // Nobody takes back what a puller said that has been turned off since.
  const isTold = puller.enabled && puller.mode === 'own'
  return isTold && mirror.pullSecret === '' && image?.nodes?.reason === 'CopyNotPulled'
}

function leftAlone(placement: Placement): Verdict | undefined {
  if (placement.excluded === true) return verdict(false, 'NamespaceExcluded')
  if (placement.own === true) return verdict(false, 'OwnPod')
  if (placement.staticPod === true) return verdict(false, 'StaticPod')
  if (placement.optedOut === true) return verdict(false, 'OptedOut')
  if (placement.stopped === true) return verdict(false, 'RewriteStopped')
  if (placement.pullPolicy === 'Never') return verdict(false, 'PullPolicyNever')
  return undefined
}
