import type { PullerSettings, Whereabouts } from '../config/settings.ts'
import type { Demand } from '../images/demand.ts'
import { createImageFilter, type ImageFilter } from '../images/filter.ts'
import type { LabelSelectorRequirement } from '../kube/types.ts'
import type { ImageState } from '../state/cached-image.ts'
import { everywhere } from './ground.ts'
import { type Placing, placingOf } from './placing.ts'

/**
 * On which nodes the users of an image may run, by its normalised reference: undefined while that is not known, none when
 * nobody uses it.
 */
export type DemandsOf = (reference: string) => readonly Demand[] | undefined

/** What the settings and the users of an image come to; `unused` and `unknown`: no users, or not known yet. */
export type Goal = Placing | 'unused' | 'unknown'

interface Rule {
  readonly matches: ImageFilter
  readonly where: Whereabouts
  readonly required: readonly LabelSelectorRequirement[]
  /** What demands came to: they are asked about every image in every round, and seldom change. */
  readonly known: WeakMap<readonly Demand[], Placing>
}

type WhereSettings = Pick<PullerSettings, 'where' | 'rules' | 'tolerations'>

/** Whether it matters at all on which nodes the users of images may run. */
export function asksUsers({ where, rules }: Pick<WhereSettings, 'where' | 'rules'>): boolean {
  return where === 'used' || rules.some((rule) => rule.where === 'used')
}

/**
 * Makes what says which nodes an image is for. What a user asked for, in `IMAGES` or by an object made by hand, is for all
 * that its rule admits.
 *
 * @param demandsOf absent: nobody can tell where users may run, and none are asked
 */
export function whereRules(
  settings: WhereSettings,
  demandsOf: DemandsOf | undefined,
): (reference: string, image: ImageState | undefined) => Goal {
  const rules: readonly Rule[] = settings.rules.map(
    ({ images, where = 'everywhere', nodeSelector = {} }) => ({
      matches: createImageFilter({ include: images, exclude: [] }),
      where,
      required: Object.entries(nodeSelector).map(([key, value]) => ({
        key,
        operator: 'In',
        values: [value],
      })),
      known: new WeakMap(),
    }),
  )
  const other: Rule = {
    ...{ matches: () => true, where: settings.where },
    ...{ required: [], known: new WeakMap() },
  }
  const all = everywhere(settings)
  const anybody = [all]
  return (reference, image) => {
    const rule = rules.find(({ matches }) => matches(reference)) ?? other
    if (rule.where === 'everywhere' || demandsOf === undefined || isAskedFor(image)) {
      return rule.required.length === 0 ? all : narrowed(rule, anybody)
    }
    const demands = demandsOf(reference)
    if (demands === undefined) return 'unknown'
    return demands.length === 0 ? 'unused' : narrowed(rule, demands)
  }
}

function narrowed({ known, required }: Rule, demands: readonly Demand[]): Placing {
  const placing = known.get(demands) ?? placingOf(demands, required)
  known.set(demands, placing)
  return placing
}

function isAskedFor(image: ImageState | undefined): boolean {
  return image === undefined || image.requested || image.usage?.wanted.includes('Static') === true
}
