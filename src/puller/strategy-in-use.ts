import type { PullerSettings } from '../config/settings.ts'
import type { Log } from '../kube/log.ts'
import type { NodeView } from './node-view.ts'
import type { StrategyName } from './strategies/strategies.ts'
import { chooseStrategy } from './strategy-choice.ts'

export interface StrategyInUseOptions {
  readonly settings: PullerSettings
  /** Whether a dry run came back with its image volume. */
  readonly serverKeepsVolumes: boolean
  /** How long no node may have been seen that cannot mount images before they are mounted again, in milliseconds. */
  readonly settleMs: number
  readonly log: Log
}

/**
 * How images are held, from round to round. A node that cannot mount images makes it `init` for all, and so it stays until
 * there has been none for a while: shards are not rolled to and fro.
 */
export class StrategyInUse {
  readonly #options: StrategyInUseOptions
  #serverKeepsVolumes: boolean
  #current: StrategyName | undefined
  /** When a node was last seen that cannot mount images. */
  #poorAt = Number.NEGATIVE_INFINITY

  constructor(options: StrategyInUseOptions) {
    this.#options = options
    this.#serverKeepsVolumes = options.serverKeepsVolumes
  }

  /** As of the last choice; before the first what works everywhere. */
  get current(): StrategyName {
    return this.#current ?? 'init'
  }

  /** @param nodes those that the puller serves; undefined: kip may not read nodes */
  choose(nodes: readonly NodeView[] | undefined, now: number): StrategyName {
    const { settings, settleMs, log } = this.#options
    const { strategy, reason } = chooseStrategy({
      setting: settings.strategy,
      serverKeepsVolumes: this.#serverKeepsVolumes,
      nodes,
    })
    if (strategy === 'init') this.#poorAt = now
    const before = this.#current
    if (before === 'init' && now < this.#poorAt + settleMs) return before
    if (strategy === before) return before
    this.#current = strategy
    const missed = settings.strategy === 'volume' && strategy !== 'volume'
    log[missed ? 'warn' : 'info']({ strategy, reason }, 'how images are held')
    return strategy
  }

  /** A server dropped a volume: another one of the same cluster may be older than the one that was asked. */
  lostVolume(): void {
    this.#serverKeepsVolumes = false
  }
}
