import type { BenchResult } from './harness/report.ts'

export interface BenchOptions {
  /** Of each case. */
  readonly rounds: number
  /** A case's name, or what the names of some hold; empty: all. */
  readonly only: string
  /** Lines about what goes on. */
  readonly report: (line: string) => void
  readonly signal: AbortSignal
}

/** A comparison with peers, all in one run. Rejects when a peer cannot be built or fails. */
export type Bench = (options: BenchOptions) => Promise<BenchResult>
