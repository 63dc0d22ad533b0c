import type { Pace } from './pace.ts'

/** Pairs of an image and a credential that pulled it nowhere: left out for a while, so that a shard gets ready without. */
export interface Bench {
  /** Since when a pair fails on every node that tried. */
  readonly failingSince: ReadonlyMap<string, number>
  readonly out: ReadonlyMap<string, { readonly until: number; readonly count: number }>
}

/** What became of an image in one shard. */
export interface Tried {
  readonly reference: string
  /** Of the credential. */
  readonly id: string
  /** Some node has it by this shard. */
  readonly held: boolean
  readonly failing: boolean
}

/** Where nothing has failed yet. */
export const blankBench: Bench = Object.freeze({ failingSince: new Map(), out: new Map() })

/** As long as a kubelet's longest back-off, doubling up to an hour. */
const firstMs = 300_000
const lastMs = 3_600_000

/** Looks at what fails. What stands on any node stays, and so does what was pulled at last. Pure. */
export function judge(
  before: Bench,
  tried: readonly Tried[],
  now: number,
  { judgeMs }: Pick<Pace, 'judgeMs'>,
): Bench {
  const failingSince = new Map<string, number>()
  // One that was not tried again for this long is nobody's any more.
  const out = new Map([...before.out].filter(([, { until }]) => now < until + lastMs))
  for (const { reference, id, held, failing } of tried) {
    const key = pairOf(reference, id)
    if (held) out.delete(key)
    if (held || !failing || benched(before, reference, id, now)) continue
    const since = before.failingSince.get(key) ?? now
    if (now - since < judgeMs) {
      failingSince.set(key, since)
      continue
    }
    const count = (before.out.get(key)?.count ?? 0) + 1
    out.set(key, { count, until: now + Math.min(firstMs * 2 ** (count - 1), lastMs) })
  }
  return { failingSince, out }
}

/** Whether an image is not to be tried with a credential now. */
export function benched(bench: Bench, reference: string, id: string, now: number): boolean {
  return now < (bench.out.get(pairOf(reference, id))?.until ?? 0)
}

function pairOf(reference: string, id: string): string {
  return `${reference} ${id}`
}
