import type { RewritePolicy, RewriteRule } from '../config/settings.ts'
import { createImageFilter, type ImageFilter } from '../images/filter.ts'

/** The settings that say where pods are pointed at copies. */
export interface PolicySettings {
  readonly enabled: boolean
  readonly rewrite: RewritePolicy
  /** Absent: none. */
  readonly rules?: readonly RewriteRule[]
}

interface CompiledRule {
  readonly namespace: ImageFilter | undefined
  readonly image: ImageFilter | undefined
  readonly rewrite: RewritePolicy
}

/** The policy for one image in one namespace: that of the first rule that matches both, else the global one. */
export function policyOf(
  settings: PolicySettings,
  image: string,
  namespace: string,
): RewritePolicy {
  if (!settings.enabled) return 'never'
  if (settings.rules === undefined || settings.rules.length === 0) return settings.rewrite
  const rule = compiled(settings.rules).find(
    (rule) => rule.namespace?.(namespace) !== false && rule.image?.(image) !== false,
  )
  return rule?.rewrite ?? settings.rewrite
}

/** Every policy that an image meets in one namespace or another. */
export function policiesOf(settings: PolicySettings, image: string): ReadonlySet<RewritePolicy> {
  if (!settings.enabled) return new Set(['never'])
  const met = new Set<RewritePolicy>()
  for (const rule of compiled(settings.rules ?? [])) {
    if (rule.image?.(image) === false) continue
    met.add(rule.rewrite)
    // What comes after a rule for all namespaces is never asked.
    if (rule.namespace === undefined) return met
  }
  return met.add(settings.rewrite)
}

/** Whether any pod may be pointed at a copy at all. */
export function rewritesAnything({ enabled, rewrite, rules = [] }: PolicySettings): boolean {
  return enabled && [rewrite, ...rules.map((rule) => rule.rewrite)].some((each) => each !== 'never')
}

const known = new WeakMap<readonly RewriteRule[], readonly CompiledRule[]>()

/** Compiled once for each list of rules: they are asked about every image of every pod. */
function compiled(rules: readonly RewriteRule[]): readonly CompiledRule[] {
  const found = known.get(rules)
  if (found !== undefined) return found
  const made = rules.map(({ namespaces, images, rewrite }) => ({
    namespace: namespaces && createImageFilter({ include: namespaces, exclude: [] }),
    image: images && createImageFilter({ include: images, exclude: [] }),
    rewrite,
  }))
  known.set(rules, made)
  return made
}
