import type { PodSpec, PodTemplateSpec } from '../../kube/types.ts'
import { isResident, type ShardKind } from '../shard.ts'
import { init } from './init.ts'
import { sleep, sleepBeside } from './sleep.ts'
import type { Strategy } from './strategy.ts'
import { volume, volumeBeside } from './volume.ts'

/** The ways to hold images, by name. */
export const strategies = Object.freeze({ volume, init, sleep })

export type StrategyName = keyof typeof strategies

/** How a kind of shard is laid out under a strategy: what is not proven stands side by side in any case. */
export function strategyOf(kind: ShardKind, chosen: StrategyName): Strategy {
  if (isResident(kind)) return strategies[chosen]
  if (chosen === 'volume') return volumeBeside
  return chosen === 'sleep' ? sleep : sleepBeside
}

/** Annotation of a pod template: the strategy that laid it out, so that a pod is read as it was made. */
export const strategyAnnotation = 'images.kip/strategy'

/** The strategy that made a template or pod; undefined: none that this kip knows. */
export function strategyOfTemplate(
  template: PodTemplateSpec & { readonly spec?: PodSpec },
): Strategy | undefined {
  const name = template.metadata?.annotations?.[strategyAnnotation]
  return name === undefined || !Object.hasOwn(strategies, name)
    ? undefined
    : strategies[name as StrategyName]
}
