import type { KubeClient } from '../kube/client.ts'
import type { Log } from '../kube/log.ts'
import { Reflector } from '../kube/reflector.ts'
import { isIgnored } from './flags.ts'

export interface ExclusionsOptions {
  readonly client: KubeClient
  readonly settings: {
    /** kip's own. */
    readonly namespace: string
    readonly discovery: { readonly ignoreNamespaces: readonly string[] }
  }
  readonly log: Log
}

/** Which namespaces kip keeps its hands off; kept by watch while {@link run} runs. */
export interface Exclusions {
  /** Watches namespaces until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
  /** Resolves when all namespaces are known. */
  readonly synced: Promise<void>
  /**
   * Whether a namespace is left out: kube-system, kip's own, one left out by name, one that bears the flag as label or
   * annotation. One that is not (yet) known is left out too: its flag may be on the way, and once it is known,
   * {@link onChange} tells.
   */
  excluded(namespace: string): boolean
  /** Calls back with the name of each namespace whose answer changed; returns how to stop. */
  onChange(listener: (namespace: string) => void): () => void
  /** All that is excluded by name or by flag, sorted: what the webhook's configuration has to leave out by name. */
  names(): readonly string[]
}

/** Follows the namespaces of the cluster and their flags. */
export function createExclusions({ client, settings, log }: ExclusionsOptions): Exclusions {
  const always = new Set([
    'kube-system',
    settings.namespace,
    ...settings.discovery.ignoreNamespaces,
  ])
  const listeners = new Set<(namespace: string) => void>()
  const reflector = new Reflector<boolean>({
    client,
    resource: { group: '', version: 'v1', plural: 'namespaces' },
    project: ({ metadata }) => isIgnored(metadata),
    onEvent: ({ key, type, value, previous }) => {
      if (always.has(key) || (type === 'updated' && value === previous)) return
      if (type === 'updated') {
        log.info({ namespace: key, ignored: value }, 'namespace flag changed')
      }
      for (const listener of listeners) listener(key)
    },
    log,
  })
  const excluded = (namespace: string): boolean =>
    always.has(namespace) || (reflector.get(namespace) ?? true)

  return {
    run: (signal) => reflector.run(signal),
    synced: reflector.synced,
    excluded,
    onChange(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    names: () => {
      const flagged = [...reflector.entries()].flatMap(([name, ignored]) => (ignored ? [name] : []))
      return [...new Set([...always, ...flagged])].sort()
    },
  }
}
