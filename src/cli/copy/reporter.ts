import type { CopyEvent, ImageReference, RateLimit } from '@containers/image-copy'
import type { Invocation } from '../invocation.ts'
import { type Dated, datedJson, datedLine } from './created-since.ts'
import { type ExtraOutcome, extraJson, extraLine } from './extra-outcome.ts'
import type { CopyPair } from './items.ts'
import {
  type Outcome,
  outcomeJson,
  outcomeLine,
  type Summary,
  summaryJson,
  summaryLine,
} from './outcome.ts'
import { CopyProgress } from './progress.ts'
import { formatSeconds } from './quantities.ts'
import { overallLine, Screen } from './screen.ts'

/** Often enough to look alive, seldom enough to cost nothing. */
const DRAW_MS = 200
/** Off a terminal: in a log, one line each so often. */
const LINE_MS = 10_000
/** Docker Hub gives out 100 in six hours to whom it does not know. */
const FEW_PULLS = 10
/** Results are written together: one by one, small images take longer to tell than to copy. */
const FLUSH_MS = 50

export interface ReporterOptions {
  readonly invocation: Pick<Invocation, 'print' | 'complain' | 'terminal'>
  readonly output: 'text' | 'json'
}

/** Tells what a copy does: results on standard output, everything else on standard error. */
export class Reporter {
  readonly #options: ReporterOptions
  readonly #progress = new CopyProgress(0)
  readonly #screen: Screen | undefined
  readonly #timer: NodeJS.Timeout
  /** Hosts of which it was said that few pulls are left. */
  readonly #warned = new Set<string>()
  #results: string[] = []
  #flushing: NodeJS.Timeout | undefined

  constructor(options: ReporterOptions) {
    this.#options = options
    const { terminal, complain } = options.invocation
    this.#screen = terminal && new Screen(terminal)
    const show = (): void => {
      const view = this.#progress.view(process.uptime() * 1000)
      if (this.#screen) this.#screen.draw(view)
      else complain(overallLine(view))
    }
    this.#timer = setInterval(show, this.#screen ? DRAW_MS : LINE_MS)
  }

  /** So many images are to be copied. */
  expect(images: number): void {
    this.#progress.expect(images)
  }

  readonly event = (event: CopyEvent): void => {
    this.#progress.apply(event)
    if (event.type === 'rate-limit') this.#warn(event.host, event.limit)
    if (event.type !== 'retry') return
    const { host, reason, delayMs, attempt } = event
    this.#complain(`${host}: ${reason}; try ${attempt + 1} in ${formatSeconds(delayMs / 1000)}`)
  }

  outcome(pair: CopyPair, outcome: Outcome): void {
    const json = this.#options.output === 'json'
    if (!json && 'message' in outcome) {
      this.#complain(outcomeLine(pair, outcome))
      return
    }
    this.#result(json ? outcomeJson(pair, outcome) : outcomeLine(pair, outcome))
  }

  readonly dated = (pair: CopyPair, dated: Dated): void => {
    if (this.#options.output === 'json') this.#result(datedJson(pair, dated))
    else this.#complain(datedLine(pair, dated))
  }

  /** Ends the show. */
  end(): void {
    clearInterval(this.#timer)
    this.#flush()
    this.#screen?.clear()
  }

  summary(summary: Summary): void {
    const { print } = this.#options.invocation
    if (this.#options.output === 'json') print(summaryJson(summary))
    else if (summary.images > 1 || summary.extraTags !== undefined) print(summaryLine(summary))
  }

  readonly extra = (target: ImageReference, outcome: ExtraOutcome): void => {
    if (this.#options.output === 'json') this.#result(extraJson(target, outcome))
    else if ('message' in outcome) this.#complain(extraLine(target, outcome))
    else this.#result(extraLine(target, outcome))
  }

  #result(line: string): void {
    this.#results.push(line)
    this.#flushing ??= setTimeout(() => this.#flush(), FLUSH_MS)
  }

  #flush(): void {
    clearTimeout(this.#flushing)
    this.#flushing = undefined
    if (this.#results.length === 0) return
    this.#screen?.clear()
    this.#options.invocation.print(this.#results.join('\n'))
    this.#results = []
  }

  #warn(host: string, { remaining, windowSeconds }: RateLimit): void {
    if (remaining > FEW_PULLS || this.#warned.has(host)) return
    this.#warned.add(host)
    const window = windowSeconds === undefined ? '' : ` in ${formatSeconds(windowSeconds)}`
    this.#complain(`${host}: only ${remaining} pulls left${window}; log in for more`)
  }

  #complain(line: string): void {
    this.#screen?.clear()
    this.#options.invocation.complain(line)
  }
}
