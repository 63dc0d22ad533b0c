import { isDeepStrictEqual } from 'node:util'
import type {
  LabelSelector,
  LabelSelectorRequirement,
  MutatingWebhookConfiguration,
} from '../kube/types.ts'
import { isRight } from './configuration-store.ts'

/**
 * What of others' stands in the configuration, because they insist on it: platforms (AKS, GKE Autopilot) keep every webhook
 * away from their own namespaces, and put back what is taken out, for ever.
 *
 * Pods that are not asked about keep their images, so nothing is lost but a rewrite. What comes back once it was taken out
 * stands therefore, while what somebody edited by mistake, or kip itself said before, is taken out and stays so.
 */
export class Narrowing {
  #selector: LabelSelector | undefined
  #takenOut: readonly LabelSelectorRequirement[] = []

  /** What a configuration leaves out besides, where all of it was taken out before; undefined: it is to be repaired. */
  insistedOn(
    found: MutatingWebhookConfiguration,
    desired: MutatingWebhookConfiguration,
  ): readonly LabelSelectorRequirement[] | undefined {
    const known = this.#takenOutFor(selectorOf(desired))
    const further = narrowingOf(found, desired)
    return further?.every((one) => isAmong(known, one)) === true ? further : undefined
  }

  /** Takes note of what the desired configuration, which was written, took out of the one that was found. */
  tookOut(found: MutatingWebhookConfiguration, desired: MutatingWebhookConfiguration): void {
    const selector = selectorOf(desired)
    this.#takenOut = narrowingOf(found, desired) ?? this.#takenOutFor(selector)
    this.#selector = selector
  }

  /** Where kip leaves out other namespaces than before, what it said before is nobody else's. */
  #takenOutFor(selector: LabelSelector): readonly LabelSelectorRequirement[] {
    return isDeepStrictEqual(selector, this.#selector) ? this.#takenOut : []
  }
}

/**
 * The requirements by which a configuration leaves out namespaces besides those that it is to leave out, none where it is
 * right; undefined where that is not all that differs. Their order says nothing.
 */
export function narrowingOf(
  found: MutatingWebhookConfiguration,
  desired: MutatingWebhookConfiguration,
): readonly LabelSelectorRequirement[] | undefined {
  const namespaceSelector = selectorOf(desired)
  const webhooks = found.webhooks?.map((webhook) => ({ ...webhook, namespaceSelector }))
  if (webhooks === undefined || !isRight({ ...found, webhooks }, desired)) return undefined
  const { matchLabels, matchExpressions: stated = [] } = selectorOf(found)
  const { matchExpressions: asked = [] } = namespaceSelector
  const isMet = asked.every((one) => stated.some((other) => implies(other, one)))
  const further = stated.filter((one) => !isAmong(asked, one))
  return matchLabels === undefined && isMet && further.every(leavesOut) ? further : undefined
}

function selectorOf({ webhooks = [] }: MutatingWebhookConfiguration): LabelSelector {
  return webhooks[0]?.namespaceSelector ?? {}
}

/** Whether what meets one requirement meets the other. */
function implies(one: LabelSelectorRequirement, other: LabelSelectorRequirement): boolean {
  if (isDeepStrictEqual(one, other)) return true
  const isSameKind = one.key === other.key && one.operator === 'NotIn' && other.operator === 'NotIn'
  return isSameKind && other.values?.every((value) => one.values?.includes(value)) === true
}

function leavesOut({ operator }: LabelSelectorRequirement): boolean {
  return operator === 'NotIn' || operator === 'DoesNotExist'
}

function isAmong(
  list: readonly LabelSelectorRequirement[],
  one: LabelSelectorRequirement,
): boolean {
  return list.some((other) => isDeepStrictEqual(one, other))
}
