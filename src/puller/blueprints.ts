import { isDeepStrictEqual } from 'node:util'
import type { PullerSettings, Settings } from '../config/settings.ts'
import type { Mapping } from '../images/mapping.ts'
import type { OwnerReference } from '../kube/types.ts'
import { type Cramped, notCramped } from './cramped.ts'
import { type DaemonSetOptions, fingerprintOf, type ObservedShard } from './daemon-set.ts'
import type { StrategyName } from './strategies/strategies.ts'

export interface BlueprintsOptions {
  readonly namespace: string
  readonly settings: PullerSettings
  readonly owner: OwnerReference | undefined
  /** The cluster chooses the user of pods. */
  readonly assignsUsers: boolean
  /** Secrets that pods pull copies with; default: none. */
  readonly pullSecrets?: readonly string[]
}

/** What DaemonSets are built from now, and how those that are there compare with it. */
export class Blueprints {
  readonly #options: BlueprintsOptions
  readonly #fingerprints = new Map<string, { readonly key: string; readonly fingerprint: string }>()
  #current: DaemonSetOptions

  /** @param strategy what works everywhere, until {@link Blueprints.hold} says better */
  constructor(options: BlueprintsOptions, strategy: StrategyName) {
    this.#options = options
    this.#current = { ...options, strategy }
  }

  get current(): DaemonSetOptions {
    return this.#current
  }

  /** From now on images are held this way, by few shards where nodes take few pods. */
  hold(strategy: StrategyName, cramped: Cramped): void {
    const { strategy: before, cramped: crampedBefore = notCramped } = this.#current
    if (strategy === before && isDeepStrictEqual(cramped, crampedBefore)) return
    this.#current = { ...this.#options, strategy, cramped }
    this.#fingerprints.clear()
  }

  /** The fingerprint that a shard is to have, '' for one that is not as it was made; computed once for each state of it. */
  fingerprint(shard: ObservedShard): string {
    // Nobody but kip makes successors, and kip does not edit them: who did is to be undone by another one.
    if (shard.uid !== '' && shard.revision > 0 && shard.generation > 1) return ''
    // What tags were is noted without a new generation.
    const key = `${shard.uid}/${shard.generation}/${shard.fingerprint}`
    const known = this.#fingerprints.get(shard.name)
    if (known?.key === key) return known.fingerprint
    const fingerprint = fingerprintOf(shard, this.#current)
    this.#fingerprints.set(shard.name, { key, fingerprint })
    return fingerprint
  }
}

/** What users' pods pull copies with, for the nodes that pull them before. */
export function copySecrets({
  settings,
  mapping,
}: {
  readonly settings: Settings
  readonly mapping: Mapping
}): readonly string[] {
  const { pullSecret } = settings.mirror
  return mapping.registry === '' || pullSecret === '' ? [] : [pullSecret]
}
