import type { GoalResult } from './goals.ts'
import { type Figure, figureNames, figures, formatFigure, type Round } from './measurement.ts'
import { median, ratiosOf, valuesOf } from './statistics.ts'

/** A case as it was measured. */
export interface CaseResult {
  readonly name: string
  readonly title: string
  /** Whom the others' ratios are taken to. */
  readonly ours: string
  readonly rounds: readonly Round[]
  /** Peers that were too slow to be measured to the end. */
  readonly leftOut: readonly string[]
  readonly goals: readonly GoalResult[]
}

/** All of a bench, as `--json` writes it. */
export interface BenchResult {
  readonly bench: string
  readonly machine: Readonly<Record<string, string | number>>
  /** Of every contender and of the servers that they talked to. */
  readonly versions: Readonly<Record<string, string>>
  readonly rounds: number
  readonly cases: readonly CaseResult[]
}

/** Medians of every contender, and ours as a ratio of each. */
export function caseTable(result: CaseResult): string {
  const names = Object.keys(result.rounds[0] ?? {})
  const shown = figures.filter((figure) =>
    names.some((name) => valuesOf(result.rounds, name, figure).length > 0),
  )
  const header = ['', ...shown.flatMap((figure) => [figureNames[figure], `${result.ours} / it`])]
  const rows = names
    .sort((a, b) => Number(b === result.ours) - Number(a === result.ours))
    .map((name) => [name, ...shown.flatMap((figure) => cells(result, name, figure))])
  const slow = result.leftOut.length > 0 ? `\n  too slow: ${result.leftOut.join(', ')}` : ''
  return `${result.title}\n${table([header, ...rows])}${slow}`
}

function cells(result: CaseResult, name: string, figure: Figure): readonly [string, string] {
  const values = valuesOf(result.rounds, name, figure)
  if (values.length === 0) return ['', '']
  const value = formatFigure(figure, median(values))
  if (name === result.ours) return [value, '']
  const ratios = ratiosOf(result.rounds, figure, { of: result.ours, to: name })
  return [value, ratios.length > 0 ? median(ratios).toFixed(3) : '']
}

/** Every goal with what was seen. */
export function goalsTable(goals: readonly GoalResult[]): string {
  const rows = goals.map((goal) => [
    goal.case,
    goal.what,
    goal.shown,
    `≤ ${goal.shownAtMost}`,
    goal.met ? 'met' : 'MISSED',
  ])
  return table([['goal', 'what', 'seen', 'at most', ''], ...rows])
}

/** Columns of equal width; the first is aligned left, the others too, since they mix words and numbers. */
function table(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(...rows.map((row) => row.length))
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .map((line) => `  ${line}`)
    .join('\n')
}
