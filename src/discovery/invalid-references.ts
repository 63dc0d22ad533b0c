import type { EventRecorder } from '../kube/events.ts'
import type { Log } from '../kube/log.ts'
import type { KubeObject } from '../kube/types.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { parseOwnerKey, type Used } from './reader.ts'

/** Faults that are remembered as told; a cluster with more has them told again now and then. */
const remembered = 1000
/** Characters of a fault that are shown: whoever reads it looks at the owner anyway. */
const shown = 200

export interface InvalidReferencesOptions {
  readonly log: Log
  readonly metrics: Metrics
  /** Absent: only the log tells. */
  readonly events?: EventRecorder | undefined
}

/** Tells once of each thing that stands where an image should and is no image reference: in the log, and on its owner. */
export class InvalidReferences {
  readonly #options: InvalidReferencesOptions
  readonly #told = new Set<string>()
  readonly #count: { inc(): void }

  constructor(options: InvalidReferencesOptions) {
    this.#options = options
    this.#count = options.metrics.counter(
      'kip_discovery_invalid_references_total',
      'Things that stand where an image should and are no image reference.',
    )
  }

  tell(key: string, used: Used, regarding: KubeObject): void {
    // What stands in a pod stands in the template of its owner, mostly, and is told there.
    if (used.invalid.length === 0 || used.ignored || used.owner !== '') return
    const { kind, namespace, name } = parseOwnerKey(key)
    for (const reference of used.invalid) {
      const fault = `${key} ${reference}`
      if (this.#told.has(fault)) continue
      if (this.#told.size >= remembered) this.#told.clear()
      this.#told.add(fault)
      this.#count.inc()
      const image = JSON.stringify(reference.slice(0, shown))
      this.#options.log.warn({ kind, namespace, name, image }, 'no image reference, left out')
      this.#options.events?.record({
        regarding,
        type: 'Warning',
        reason: 'InvalidImageReference',
        action: 'Discovering',
        note: `${image} is no image reference: kip leaves it out`,
        once: reference,
      })
    }
  }
}
