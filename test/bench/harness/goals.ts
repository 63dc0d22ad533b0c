import { type Figure, figureNames, formatFigure, type Round } from './measurement.ts'
import { bestOf, differencesOf, median, ratiosOf, valuesOf } from './statistics.ts'

/** What a case has to show. */
export type Goal =
  /** The median of the rounds' ratios of one contender's figure to another's. */
  | {
      readonly kind: 'ratio'
      readonly figure: Figure
      readonly of: string
      /** Several: the best of them by the median of this figure. */
      readonly beside: readonly string[]
      readonly atMost: number
    }
  /** The largest of all rounds' differences of one contender's figure from another's. */
  | {
      readonly kind: 'difference'
      readonly figure: Figure
      readonly of: string
      readonly from: string
      readonly atMost: number
    }
  /** The largest value of all rounds. */
  | {
      readonly kind: 'bound'
      readonly figure: Figure
      readonly of: string
      readonly atMost: number
      /** The bound holds for each of so many; default 1. */
      readonly per?: number
    }

/** How a goal came out. */
export interface GoalResult {
  readonly case: string
  /** `wall beside crane`, `RSS` */
  readonly what: string
  /** The ratio, or the value itself; undefined when there was nothing to compare. */
  readonly value: number | undefined
  readonly atMost: number
  readonly met: boolean
  /** As shown: `0.88`, `53 MiB`. */
  readonly shown: string
  readonly shownAtMost: string
}

export function judge(name: string, goal: Goal, rounds: readonly Round[]): GoalResult {
  const { value, what } = measure(goal, rounds)
  const show = (number: number): string =>
    goal.kind === 'ratio' ? number.toFixed(3) : formatFigure(goal.figure, number)
  return {
    case: name,
    what,
    value,
    atMost: goal.atMost,
    met: value !== undefined && value <= goal.atMost,
    shown: value === undefined ? 'not measured' : show(value),
    shownAtMost: show(goal.atMost),
  }
}

function measure(
  goal: Goal,
  rounds: readonly Round[],
): { value: number | undefined; what: string } {
  if (goal.kind === 'ratio') return ratio(goal, rounds)
  return goal.kind === 'difference' ? difference(goal, rounds) : bound(goal, rounds)
}

function ratio(
  goal: Goal & { kind: 'ratio' },
  rounds: readonly Round[],
): { value: number | undefined; what: string } {
  const figure = figureNames[goal.figure]
  const best = bestOf(rounds, goal.beside, goal.figure)
  if (best === undefined) {
    return { value: undefined, what: `${figure} beside ${goal.beside.join(', ')}` }
  }
  const ratios = ratiosOf(rounds, goal.figure, { of: goal.of, to: best })
  const what =
    goal.beside.length > 1 ? `${figure} beside the best, ${best}` : `${figure} beside ${best}`
  return { value: ratios.length > 0 ? median(ratios) : undefined, what }
}

function difference(
  goal: Goal & { kind: 'difference' },
  rounds: readonly Round[],
): { value: number | undefined; what: string } {
  const { of, from: to, figure } = goal
  const differences = differencesOf(rounds, figure, { of, to })
  return {
    value: differences.length > 0 ? Math.max(...differences) : undefined,
    what: `${figureNames[figure]} over ${to}`,
  }
}

function bound(
  goal: Goal & { kind: 'bound' },
  rounds: readonly Round[],
): { value: number | undefined; what: string } {
  const values = valuesOf(rounds, goal.of, goal.figure)
  const per = goal.per ?? 1
  return {
    value: values.length > 0 ? Math.max(...values) / per : undefined,
    what: per > 1 ? `${figureNames[goal.figure]} an image` : figureNames[goal.figure],
  }
}
