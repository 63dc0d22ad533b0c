import { createObject, getObject, updateObject } from './apply.ts'
import type { KubeClient } from './client.ts'
import type { Log } from './log.ts'
import { Reflector } from './reflector.ts'
import type { ReflectorMetrics } from './reflector-options.ts'
import { resourceOf } from './resource.ts'
import type { Lease } from './types.ts'

/** What an elector asks of the API server; `lease-lock` takes this shape. */
export interface LeaseApi {
  get(signal: AbortSignal): Promise<Lease | undefined>
  create(lease: Lease, signal: AbortSignal): Promise<Lease>
  update(lease: Lease, signal: AbortSignal): Promise<Lease>
  /** Calls back on every change of the Lease until the signal aborts; undefined: it was deleted. Never rejects. */
  watch(onChange: (lease: Lease | undefined) => void, signal: AbortSignal): Promise<void>
}

export interface LeaseApiOptions {
  readonly log: Log
  readonly metrics?: ReflectorMetrics
  /**
   * For how long an answer is waited for. To be shorter than the elector's own wait (half its renewDeadline): only a client whose
   * own time is up leaves its connections for new ones, and each dead one would cost the elector another wait. Default: the
   * client's.
   */
  readonly timeoutMs?: number
}

/**
 * One Lease of coordination.k8s.io/v1 at the API server.
 *
 * Objects pass through as they are: unknown fields stay, and times keep their six digits (MicroTime; the API server
 * refuses any other width with 400).
 */
export function leaseApi(
  client: KubeClient,
  namespace: string,
  name: string,
  options: LeaseApiOptions,
): LeaseApi {
  const { timeoutMs } = options
  const timing = timeoutMs === undefined ? {} : { timeoutMs }
  const resource = resourceOf('leases', namespace)
  const named = (lease: Lease): Lease => ({
    ...lease,
    apiVersion: 'coordination.k8s.io/v1',
    kind: 'Lease',
    metadata: { ...lease.metadata, namespace, name },
  })
  return {
    get: (signal) => getObject<Lease>(client, resource, name, { signal, ...timing }),
    create: (lease, signal) =>
      createObject<Lease>(client, resource, named(lease), { signal, ...timing }),
    update: (lease, signal) =>
      updateObject<Lease>(client, resource, named(lease), { signal, ...timing }),
    async watch(onChange, signal) {
      const reflector = new Reflector<Lease>({
        client,
        resource,
        fieldSelector: `metadata.name=${name}`,
        project: (raw) => raw,
        onEvent: (event) => onChange(event.type === 'deleted' ? undefined : event.value),
        log: options.log,
        ...(options.metrics && { metrics: options.metrics }),
      })
      await reflector.run(signal)
    },
  }
}
