import { quantityValue } from '../../../src/config/quantity.ts'
import type { PodSpec } from '../../../src/kube/types.ts'

/** What the scheduler takes a pod for: of each resource the larger of its containers' sum and its largest init container. */
export function reservedBy(spec: PodSpec): { readonly cpu: number; readonly mib: number } {
  const of = (resource: 'cpu' | 'memory'): number => {
    const ask = ({ resources }: { resources?: { requests?: Readonly<Record<string, string>> } }) =>
      quantityValue(resources?.requests?.[resource] ?? '0')
    const together = (spec.containers ?? []).map(ask).reduce((sum, one) => sum + one, 0)
    return Math.max(together, ...(spec.initContainers ?? []).map(ask))
  }
  return { cpu: of('cpu') * 1000, mib: of('memory') / 2 ** 20 }
}
