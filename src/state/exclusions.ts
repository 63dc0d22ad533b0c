import type { KubeClient } from '../kube/client.ts'
import { meetsRequirements, requirementsOf } from '../kube/label-selector.ts'
import { Listeners } from '../kube/listeners.ts'
import type { Log } from '../kube/log.ts'
import { Reflector } from '../kube/reflector.ts'
import { resourceOf } from '../kube/resource.ts'
import type { LabelSelector, LabelSelectorRequirement, ObjectMeta } from '../kube/types.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { isIgnored } from './flags.ts'

export interface ExclusionsOptions {
  readonly client: KubeClient
  readonly settings: {
    /** kip's own. */
    readonly namespace: string
    readonly discovery: {
      readonly ignoreNamespaces: readonly string[]
      /** Empty: every namespace is selected. */
      readonly namespaceSelector: LabelSelector
    }
  }
  readonly log: Log
  readonly metrics?: Pick<Metrics, 'reflector'>
}

/** `gone`: the namespace was deleted, which is why it is left out from now on. */
export type ExclusionsListener = (namespace: string, gone: boolean) => void

/** Flagged comes before unselected: a flag is to be told by name, the selector tells by itself. */
type Standing = 'open' | 'flagged' | 'unselected'

/** Which namespaces kip keeps its hands off; kept by watch while {@link run} runs. */
export interface Exclusions {
  /** Watches namespaces until the signal aborts. */
  run(signal: AbortSignal): Promise<void>
  /** Resolves when all namespaces are known. */
  readonly synced: Promise<void>
  /**
   * Whether a namespace is left out: kube-system, kip's own, one left out by name, one that bears the flag as label or
   * annotation, one that the selector does not select. One that is not (yet) known is left out too: its flag may be on
   * the way, and once it is known, {@link onChange} tells.
   */
  excluded(namespace: string): boolean
  /** Calls back for each namespace whose answer changed; returns how to stop. */
  onChange(listener: ExclusionsListener): () => void
  /** All that is excluded by name or by flag, sorted: what the webhook's configuration has to leave out by name. */
  names(): readonly string[]
}

/** Follows the namespaces of the cluster, their flags and labels. */
export function createExclusions({
  client,
  settings,
  log,
  metrics,
}: ExclusionsOptions): Exclusions {
  const always = excludedByName(settings)
  const changes = new Listeners<Parameters<ExclusionsListener>>()
  const requirements = requirementsOf(settings.discovery.namespaceSelector)
  const reflector = new Reflector<Standing>({
    client,
    resource: resourceOf('namespaces'),
    project: ({ metadata }) => standingOf(metadata, requirements),
    onEvent: ({ key, type, value, previous }) => {
      if (always.has(key) || (type === 'updated' && value === previous)) return
      if (type === 'updated') {
        log.info({ namespace: key, standing: value }, 'standing of a namespace changed')
      }
      changes.tell(key, type === 'deleted')
    },
    log,
    ...(metrics && { metrics: metrics.reflector('exclusions/namespaces') }),
  })
  const excluded = (namespace: string): boolean =>
    always.has(namespace) || reflector.get(namespace) !== 'open'

  return {
    run: (signal) => reflector.run(signal),
    synced: reflector.synced,
    excluded,
    onChange: changes.add,
    names: () => {
      const flagged = [...reflector.entries()].flatMap(([name, standing]) =>
        standing === 'flagged' ? [name] : [],
      )
      return [...new Set([...always, ...flagged])].sort()
    },
  }
}

/** Whether a namespace that was read is left out, see {@link Exclusions.excluded}. */
export function isExcluded(
  namespace: string,
  metadata: ObjectMeta | undefined,
  settings: ExclusionsOptions['settings'],
): boolean {
  const requirements = requirementsOf(settings.discovery.namespaceSelector)
  return excludedByName(settings).has(namespace) || standingOf(metadata, requirements) !== 'open'
}

/** Names that are left out whatever their namespaces bear. */
export function excludedByName({
  namespace,
  discovery,
}: ExclusionsOptions['settings']): ReadonlySet<string> {
  return new Set(['kube-system', namespace, ...discovery.ignoreNamespaces])
}

function standingOf(
  metadata: ObjectMeta | undefined,
  requirements: readonly LabelSelectorRequirement[],
): Standing {
  if (isIgnored(metadata)) return 'flagged'
  return meetsRequirements(requirements, metadata?.labels) ? 'open' : 'unselected'
}
