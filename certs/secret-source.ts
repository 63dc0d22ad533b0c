import { createObject, getObject, updateObject } from '../src/kube/apply.ts'
import type { KubeClient } from '../src/kube/client.ts'
import { type Clock, systemClock } from '../src/kube/clock.ts'
import { isAlreadyExists, isConflict, isNotFound } from '../src/kube/errors.ts'
import type { Log } from '../src/kube/log.ts'
import { resourceOf } from '../src/kube/resource.ts'
import type { Secret } from '../src/kube/types.ts'
import type { Metrics } from '../src/metrics/metrics.ts'
import { CertificateError } from './errors.ts'
import type { ServingIdentity, StoredIdentity } from './identity.ts'
import { defaultLifetimes, type Lifetimes } from './lifetimes.ts'
import { holds } from './pem.ts'
import { PolledSource } from './polled-source.ts'
import { advanceIdentity } from './rotation.ts'
import { readSecret, secretOf, servingOf } from './secret.ts'
import type { CertificateSource } from './source.ts'

/** The Secret that kip's rights name. */
export const secretName = 'kip-webhook-certs'

export interface SecretSourceOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** Default {@link secretName}. */
  readonly name?: string
  /** Somebody else fills the Secret; it is never written. Default: only when it holds no key of an authority. */
  readonly provided?: boolean
  /** Host names and IP addresses that clients call, see {@link servingNames}. */
  readonly names: readonly string[]
  readonly log: Log
  readonly metrics: Metrics
  readonly lifetimes?: Lifetimes
  /** How often the Secret is read. Default 10 000, as long as controller-runtime's certificate watcher waits. */
  readonly pollMs?: number
  /** For waiting, and for how long an authority has been trusted. */
  readonly clock?: Clock
  /** Unix ms, for what is written into certificates. */
  readonly now?: () => number
}

// A write that lost the race is decided anew from what won; after this many the next poll goes on.
const maxAttempts = 5

/**
 * The webhook's identity in a Secret that all replicas share: made by whoever comes first, replaced in time by whoever
 * notices, always by conditional writes.
 *
 * A Secret that is gone or was damaged is written again from what this replica serves, so that nobody's trust changes.
 * One that somebody else filled (without the key of an authority) is served and left alone.
 */
export function createSecretSource(options: SecretSourceOptions): CertificateSource {
  const { log, metrics, pollMs, clock = systemClock, lifetimes = defaultLifetimes } = options
  if (!(lifetimes.replaceAt > 0 && lifetimes.replaceAt < 2 / 3)) {
    throw new RangeError('lifetimes.replaceAt must lie between 0 and 2/3')
  }
  const { identity: read, trusted } = createEnsurer(options, clock, lifetimes)
  return new PolledSource({ read, trusted, log, metrics, pollMs, clock })
}

/** Names that clients may call the webhook by: those of its Service, and the host of the URL where one is set. */
export function servingNames(options: {
  readonly service: string
  readonly namespace: string
  readonly url?: string
}): readonly string[] {
  const { service, namespace, url = '' } = options
  const names = [
    `${service}.${namespace}.svc`,
    `${service}.${namespace}.svc.cluster.local`,
    `${service}.${namespace}`,
  ]
  // A URL writes an IPv6 address in brackets.
  if (url !== '') names.push(new URL(url).hostname.replace(/^\[(.*)\]$/, '$1'))
  return names
}

interface Ensurer {
  identity(signal: AbortSignal): Promise<ServingIdentity>
  trusted(bundle: string): void
}

function createEnsurer(options: SecretSourceOptions, clock: Clock, lifetimes: Lifetimes): Ensurer {
  const { client, namespace, name = secretName, names, log, now = Date.now } = options
  const place = { namespace, name }
  const secrets = resourceOf('secrets', namespace)
  /** When the next authority was first read back, on {@link clock}; at most one authority is next at a time. */
  let trust: { readonly certificate: string; readonly at: number } | undefined
  let last: StoredIdentity | undefined
  /** Who provided a Secret is about to put it there again: one made meanwhile would be fought over. */
  let provided = options.provided ?? false

  const context = {
    lifetimes,
    names,
    trustedForMs: (certificate: string) =>
      trust?.certificate === certificate ? clock.now() - trust.at : undefined,
  }

  async function attempt(signal: AbortSignal): Promise<ServingIdentity> {
    const secret = await getObject<Secret>(client, secrets, name, { signal })
    const stored = secret && readStored(secret)
    if (stored !== undefined && 'provided' in stored) {
      last = undefined
      provided = true
      return stored.provided
    }
    const found = stored?.own
    if (provided && found === undefined) {
      const state = options.provided
        ? 'which is to be provided to kip, is missing or empty: fill it, or set admission.certificate to own'
        : 'which was provided to kip, is gone or empty: restore it, or restart kip to have it make one'
      throw new CertificateError('KIP_CERTS_INVALID', `secret ${namespace}/${name}, ${state}`)
    }
    const wanted = await advanceIdentity(found ?? last, { ...context, now: now() })
    if (wanted !== found) {
      const next = secretOf(wanted, place, secret)
      if (secret === undefined) await createObject(client, secrets, next, { signal })
      else await updateObject(client, secrets, next, { signal })
      log.info(
        { namespace, object: name, created: secret === undefined },
        'webhook identity written',
      )
    }
    last = wanted
    return servingOf(wanted)
  }

  function readStored(
    secret: Secret,
  ): { own: StoredIdentity | undefined } | { provided: ServingIdentity } {
    try {
      const content = readSecret(secret, { provided: options.provided ?? false })
      if (content.kind === 'provided') return { provided: content.identity }
      return { own: content.kind === 'own' ? content.identity : undefined }
    } catch (error) {
      // Without an identity of our own in memory it may be a user's that needs the user's hand.
      if (!(error instanceof CertificateError) || last === undefined) throw error
      log.warn({ err: error }, 'webhook identity was damaged; it is written again')
      return { own: undefined }
    }
  }

  return {
    async identity(signal) {
      for (let tries = 1; ; tries++) {
        try {
          return await attempt(signal)
        } catch (error) {
          const lostRace = isAlreadyExists(error) || isConflict(error) || isNotFound(error)
          if (!lostRace || tries === maxAttempts) throw error
        }
      }
    },
    trusted(bundle) {
      const next = last?.next?.certificate
      if (next === undefined || !holds(bundle, next)) trust = undefined
      else if (trust?.certificate !== next) trust = { certificate: next, at: clock.now() }
    },
  }
}
