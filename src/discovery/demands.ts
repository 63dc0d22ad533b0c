import type { Demand } from '../images/demand.ts'
import type { Users } from './inventory.ts'

export interface DemandsOptions {
  readonly inventory: {
    demandsOf(reference: string, counts: (namespace: string) => boolean): readonly Demand[]
  }
  /** Whether kip knows the image: one without users is remembered as such only then. */
  readonly isKnown: (reference: string) => boolean
  /** Told when it is known of an image for the first time, and whenever it changes. */
  readonly onChange: () => void
}

/** On which nodes the users of each image may run, as it was when they were last counted. */
export class Demands {
  readonly #options: DemandsOptions
  readonly #byImage = new Map<string, readonly Demand[]>()

  constructor(options: DemandsOptions) {
    this.#options = options
  }

  /** undefined while it is not known. */
  of(reference: string): readonly Demand[] | undefined {
    return this.#byImage.get(reference)
  }

  note(reference: string, { workloads, namespaces }: Users): void {
    const { inventory, isKnown, onChange } = this.#options
    if (workloads === 0 && !isKnown(reference)) {
      this.#byImage.delete(reference)
      return
    }
    const counted = new Set(namespaces)
    const demands = inventory.demandsOf(reference, (namespace) => counted.has(namespace))
    const before = this.#byImage.get(reference)
    this.#byImage.set(reference, demands)
    if (before === undefined || !isSameSet(before, demands)) onChange()
  }
}

function isSameSet(a: readonly Demand[], b: readonly Demand[]): boolean {
  return a.length === b.length && new Set(a).isSubsetOf(new Set(b))
}
