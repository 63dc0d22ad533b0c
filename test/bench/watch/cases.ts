import { OURS } from '../harness/case.ts'
import type { Goal } from '../harness/goals.ts'
import type { Figure } from '../harness/measurement.ts'
import { BEGINNING, END } from './churn.ts'
import { REAL_PODS } from './real-server.ts'
import { CHANGES_PER_SECOND, REPLAYED_PODS } from './replay-server.ts'

/** How long changes go on. */
export const CHURN_SECONDS = 60

const beside = (name: string, figure: Figure, atMost: number): Goal & { kind: 'ratio' } => ({
  ...{ kind: 'ratio', figure, of: OURS },
  ...{ beside: [name], atMost },
})
const atMost = (figure: Figure, atMost: number): Goal => ({
  ...{ kind: 'bound', figure, of: OURS, atMost },
})

export interface WatchCase {
  readonly name: string
  readonly title: string
  readonly server: 'replay' | 'real'
  readonly does: 'list' | 'churn' | 'idle'
  readonly goals: readonly Goal[]
}

/** Every case. At the real API server its encoding bounds both clients: no goals there. */
export const cases: readonly WatchCase[] = [
  {
    name: 'replay-list',
    title: `${REPLAYED_PODS} pods of 8 KB (JSON), replayed: from the start to the whole inventory`,
    ...{ server: 'replay', does: 'list' },
    goals: [
      beside('client-go', 'cpuMs', 0.3),
      beside('client-go', 'rssMib', 0.5),
      beside('client-go', 'wallMs', 0.5),
      atMost('blockMs', 20),
    ],
  },
  {
    name: 'replay-churn',
    title: `the same, then ${CHANGES_PER_SECOND} changes a second for ${CHURN_SECONDS} s, side by side`,
    ...{ server: 'replay', does: 'churn' },
    goals: [
      beside('client-go', 'cpuMs', 0.3),
      beside('client-go', 'rssMib', 0.5),
      { ...beside(BEGINNING, 'rssMib', 1.1), of: END },
      atMost('blockMs', 20),
      atMost('bytes', 200),
    ],
  },
  {
    name: 'real-list',
    title: `${REAL_PODS} bare pods at a real API server: from the start to the whole inventory`,
    ...{ server: 'real', does: 'list' },
    goals: [],
  },
  {
    name: 'real-churn',
    title: `the same, then ${CHANGES_PER_SECOND} changes a second for ${CHURN_SECONDS} s, as far as the server takes them`,
    ...{ server: 'real', does: 'churn' },
    goals: [],
  },
  {
    name: 'idle',
    title:
      'one replica as the image runs it, with nothing to do: start to ready, and memory of all its processes',
    ...{ server: 'real', does: 'idle' },
    // 100 MB.
    goals: [atMost('wallMs', 1_000), atMost('rssMib', 95.4)],
  },
]
