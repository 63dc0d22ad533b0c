import type { RegistryClient } from '@containers/image-copy'
import { type KeepLookingOptions, keepLooking } from './keep-looking.ts'
import { lookAt } from './look.ts'

export interface ResolverOptions extends Omit<KeepLookingOptions, 'look'> {
  /** The one client that the mirror uses too; it is given no credentials of users. */
  readonly registry: RegistryClient
}

export interface Resolver {
  /** Looks at the sources of wanted images until the signal aborts. May be called again afterwards. */
  run(signal: AbortSignal): Promise<void>
}

/** Says in the store what each wanted reference is at its registry now. */
export function createResolver({ registry, ...options }: ResolverOptions): Resolver {
  const look = lookAt(registry, options.log)
  return { run: (signal) => keepLooking({ ...options, look }, signal) }
}
