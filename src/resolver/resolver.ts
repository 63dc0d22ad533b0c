import type { RegistryClient } from '@containers/image-copy'
import { type KeepLookingOptions, keepLooking } from './keep-looking.ts'
import { lookAt } from './look.ts'

export interface ResolverOptions extends Omit<KeepLookingOptions, 'look' | 'onHints'> {
  /** The one client that the mirror uses too; it is given no credentials of users. */
  readonly registry: RegistryClient
}

export interface Resolver {
  /** Looks at the sources of wanted images until the signal aborts. May be called again afterwards. */
  run(signal: AbortSignal): Promise<void>
  /**
   * A hint that an image could not be pulled: a source that is taken for well is looked at now, at most once a minute.
   *
   * @param reference normalised
   */
  hasten(reference: string): void
}

/** Says in the store what each wanted reference is at its registry now. */
export function createResolver({ registry, ...options }: ResolverOptions): Resolver {
  const look = lookAt(registry, options.log)
  let hasten: ((reference: string) => void) | undefined
  const onHints = (take: (reference: string) => void): void => {
    hasten = take
  }
  return {
    run: (signal) => keepLooking({ ...options, look, onHints }, signal),
    hasten: (reference) => hasten?.(reference),
  }
}
