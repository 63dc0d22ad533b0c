import type { Figure, Round } from './measurement.ts'

/** The middle value; of an even number, the mean of the middle two. @throws RangeError for none */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const upper = sorted[Math.floor(sorted.length / 2)]
  const lower = sorted[Math.ceil(sorted.length / 2) - 1]
  if (upper === undefined || lower === undefined) throw new RangeError('the median of no values')
  return (lower + upper) / 2
}

/** A contender's values of one figure, in the rounds that it took part in. */
export function valuesOf(rounds: readonly Round[], name: string, figure: Figure): number[] {
  return rounds.flatMap((round) => round[name]?.[figure] ?? [])
}

/** A contender, and the one that it is compared with. */
interface Pair {
  readonly of: string
  readonly to: string
}

/**
 * Ratios of one contender to another, a value for each round that both took part in: what disturbs a machine for longer than a
 * run disturbs both.
 */
export function ratiosOf(rounds: readonly Round[], figure: Figure, pair: Pair): number[] {
  return bothOf(rounds, figure, pair).map(([value, other]) => value / other)
}

/** The same as {@link ratiosOf}, subtracted. */
export function differencesOf(rounds: readonly Round[], figure: Figure, pair: Pair): number[] {
  return bothOf(rounds, figure, pair).map(([value, other]) => value - other)
}

function bothOf(
  rounds: readonly Round[],
  figure: Figure,
  { of, to }: Pair,
): (readonly [number, number])[] {
  return rounds.flatMap((round) => {
    const value = round[of]?.[figure]
    const other = round[to]?.[figure]
    return value === undefined || other === undefined ? [] : [[value, other] as const]
  })
}

/** Of these contenders, the one with the lowest median; undefined when none was measured in every round. */
export function bestOf(
  rounds: readonly Round[],
  names: readonly string[],
  figure: Figure,
): string | undefined {
  const measured = names
    .map((name) => ({ name, values: valuesOf(rounds, name, figure) }))
    .filter(({ values }) => values.length > 0 && values.length === rounds.length)
    .map(({ name, values }) => ({ name, value: median(values) }))
  return measured.sort((a, b) => a.value - b.value)[0]?.name
}
