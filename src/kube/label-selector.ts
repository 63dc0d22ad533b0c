import type { LabelSelector, LabelSelectorRequirement } from './types.ts'

/**
 * The requirements of a selector, `matchLabels` among them; all have to hold, so that none selects everything. They are
 * spelled as the API server gives them back: without a list of values that is empty.
 *
 * @see https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/label-selector/
 */
export function requirementsOf(selector: LabelSelector): readonly LabelSelectorRequirement[] {
  const equal = Object.entries(selector.matchLabels ?? {}).map(([key, value]) => ({
    key,
    operator: 'In',
    values: [value],
  }))
  const others = (selector.matchExpressions ?? []).map(({ key, operator, values = [] }) => ({
    key,
    operator,
    ...(values.length > 0 && { values }),
  }))
  return [...equal, ...others]
}

/** Whether labels meet all requirements. An operator that is not known is met by nothing. */
export function meetsRequirements(
  requirements: readonly LabelSelectorRequirement[],
  labels: Readonly<Record<string, string>> | undefined,
): boolean {
  return requirements.every((requirement) => meetsOperator(requirement, labels?.[requirement.key]))
}

/** Whether one value is as a requirement asks, whatever its key is of; undefined: there is none. */
export function meetsOperator(
  { operator, values = [] }: LabelSelectorRequirement,
  value: string | undefined,
): boolean {
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value)
    case 'NotIn':
      return value === undefined || !values.includes(value)
    case 'Exists':
      return value !== undefined
    case 'DoesNotExist':
      return value === undefined
    default:
      return false
  }
}
