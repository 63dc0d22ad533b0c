import { FormerAuthorities } from '../../certs/former-authorities.ts'
import type { ServingIdentity } from '../../certs/identity.ts'
import { sameCertificates } from '../../certs/pem.ts'
import type { CertificateSource } from '../../certs/source.ts'
import { configurationName, configurations, trustedBundle } from '../../certs/trusted-bundle.ts'
import type { Settings } from '../config/settings.ts'
import { getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import { type Clock, systemClock } from '../kube/clock.ts'
import { isForbidden, unlessForbidden } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'
import { Reflector } from '../kube/reflector.ts'
import { resourceOf } from '../kube/resource.ts'
import type { KubeObject, MutatingWebhookConfiguration, OwnerReference } from '../kube/types.ts'
import { untilAborted } from '../kube/until-aborted.ts'
import { untilAnswered } from '../kube/until-answered.ts'
import { WorkQueue } from '../kube/work-queue.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { Exclusions } from '../state/exclusions.ts'
import { isRight, removeConfiguration, writeConfiguration } from './configuration-store.ts'
import { checkUrl, hasReadyEndpoint } from './endpoint.ts'
import { Narrowing } from './narrowing.ts'
import { RepairPace } from './repair-pace.ts'
import { buildConfiguration, needsWebhook } from './webhook-configuration.ts'

export interface KeeperOptions {
  readonly client: KubeClient
  readonly settings: Pick<Settings, 'namespace' | 'admission' | 'discovery' | 'mirror'>
  readonly exclusions: Pick<Exclusions, 'synced' | 'names' | 'onChange'>
  readonly certificates: Pick<CertificateSource, 'current' | 'refresh' | 'trusted' | 'onChange'>
  readonly log: Log
  readonly metrics: Metrics
  readonly clock?: Clock
}

const clusterRoles = resourceOf('clusterroles')
/** The role that kip's rights come from: whoever uninstalls kip takes it away, and the configuration with it. */
const ownerName = 'kip-admission'

const name = configurationName
const retryMs = 1_000
// Namespaces change in bursts, when a cluster is set up or torn down.
const settleMs = 100
// A replica is ready seconds after it serves. Whatever else is amiss, a webhook that fails open is better than none.
const patienceMs = 60_000

/**
 * Keeps the webhook configuration right until the signal aborts; for the leader alone.
 *
 * It is made when the webhook was seen to serve (or a minute later, whatever is seen), follows excluded namespaces and the
 * certificate's bundle, and is repaired at once when somebody edits or deletes it, though not without end; who insists on
 * leaving out more namespaces is given way to. Where kip is not to rewrite pods it is removed.
 */
export async function keepWebhookConfiguration(
  options: KeeperOptions,
  signal: AbortSignal,
): Promise<void> {
  try {
    if (needsWebhook(options.settings)) await new ConfigurationKeeper(options).run(signal)
    else await removeWebhookConfiguration(options, signal)
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** Removes the configuration, if there is one that kip made; tries until it is gone or the signal aborts. */
export async function removeWebhookConfiguration(
  { client, log, clock = systemClock }: Pick<KeeperOptions, 'client' | 'log' | 'clock'>,
  signal: AbortSignal,
): Promise<void> {
  const complaint = 'webhook configuration cannot be removed'
  const isRemoved = await untilAnswered(
    () => removeConfiguration(client, signal),
    { log, clock, complaint, longestMs: retryMs },
    signal,
  )
  if (isRemoved) {
    log.info({ configuration: name }, 'webhook configuration removed, it has nothing to do')
  }
}

class ConfigurationKeeper {
  readonly #options: KeeperOptions
  readonly #clock: Clock
  readonly #reflector: Reflector<MutatingWebhookConfiguration>
  readonly #queue: WorkQueue
  readonly #pace: RepairPace
  readonly #narrowing = new Narrowing()
  readonly #former: FormerAuthorities
  #knowsTrusted = false
  readonly #writes
  #owner: OwnerReference | undefined
  #isOwnerKnown = false
  #askedSince: number | undefined
  /** The last version of the configuration that was left to somebody else who insists. */
  #narrowed: string | undefined

  constructor(options: KeeperOptions) {
    const { client, log, metrics, clock = systemClock } = options
    this.#options = options
    this.#clock = clock
    this.#pace = new RepairPace(clock)
    this.#former = new FormerAuthorities(clock)
    this.#queue = new WorkQueue({
      log,
      clock,
      baseDelayMs: retryMs,
      maxDelayMs: 60_000,
      metrics: metrics.workQueue('admission'),
    })
    this.#reflector = new Reflector<MutatingWebhookConfiguration>({
      client,
      resource: configurations,
      fieldSelector: `metadata.name=${name}`,
      project: (raw) => raw,
      onEvent: () => this.#queue.add(name),
      onReplaced: () => this.#queue.add(name),
      log,
      metrics: metrics.reflector('admission/mutatingwebhookconfigurations'),
      clock,
    })
    this.#writes = metrics.counter(
      'kip_admission_configuration_writes_total',
      'Writes of the webhook configuration, by reason (created, changed).',
      ['reason'],
    )
  }

  async run(signal: AbortSignal): Promise<void> {
    const { exclusions, certificates, log } = this.#options
    await Promise.race([exclusions.synced, untilAborted(signal)])
    signal.throwIfAborted()
    // A bundle of some seconds ago may lack an authority that a replica serves under already.
    const complaint = 'webhook certificate cannot be read'
    await untilAnswered(
      () => certificates.refresh(signal),
      { log, clock: this.#clock, complaint, longestMs: retryMs },
      signal,
    )
    signal.throwIfAborted()
    const stops = [
      exclusions.onChange(() => this.#queue.addAfter(name, settleMs)),
      certificates.onChange(() => this.#queue.add(name)),
    ]
    try {
      await Promise.all([
        this.#reflector.run(signal),
        this.#queue.run(() => this.#reconcile(signal), { signal }),
      ])
    } finally {
      for (const stop of stops) stop()
    }
  }

  async #reconcile(signal: AbortSignal): Promise<void> {
    const { client, exclusions, certificates, settings, log } = this.#options
    const identity = certificates.current()
    if (!this.#reflector.isSynced || identity === undefined) return
    if (!this.#isOwnerKnown) await this.#findOwner(signal)
    const found = this.#reflector.get(name)
    const bundle = this.#bundleOf(identity, found)
    const build = () =>
      buildConfiguration({ settings, bundle, excluded: exclusions.names(), owner: this.#owner })
    // What the watch told of is what API servers know by now.
    if (found !== undefined) certificates.trusted(trustedBundle(found))
    if (found !== undefined && this.#mayStand(found, build())) return

    const waitMs = this.#pace.waitMs()
    if (waitMs > 0) {
      this.#queue.addAfter(name, waitMs)
      return
    }
    if (found === undefined && !(await this.#serves(identity, signal))) {
      this.#queue.addAfter(name, retryMs)
      return
    }
    // An owner that was made anew is another one: under the former the configuration would be collected.
    await this.#findOwner(signal)
    const desired = build()
    this.#pace.repaired()
    const written = await writeConfiguration(client, desired, found, signal)
    if (found !== undefined) this.#narrowing.tookOut(found, desired)
    const reason = found === undefined ? 'created' : 'changed'
    this.#writes.inc({ reason })
    const fields = { configuration: name, reason }
    if (isRight(written, desired)) log.info(fields, 'webhook configuration written')
    else log.warn(fields, 'webhook configuration was changed by somebody else as it was written')
  }

  /**
   * Whom API servers are to trust. cert-manager's injector, which writes the newest authorities alone, is not fought for the
   * former ones.
   */
  #bundleOf({ bundle }: ServingIdentity, found: MutatingWebhookConfiguration | undefined): string {
    if (!this.#knowsTrusted) {
      // What an earlier leader had trusted for a while is not known otherwise.
      this.#knowsTrusted = true
      if (found !== undefined) this.#former.behind(trustedBundle(found))
    }
    const withFormer = this.#former.behind(bundle)
    const leftMs = this.#former.leftMs()
    if (leftMs !== undefined) this.#queue.addAfter(name, leftMs)
    return found !== undefined && sameCertificates(trustedBundle(found), bundle)
      ? bundle
      : withFormer
  }

  #mayStand(found: MutatingWebhookConfiguration, desired: MutatingWebhookConfiguration): boolean {
    const leftOut = this.#narrowing.insistedOn(found, desired)
    if (leftOut === undefined) return false
    const { resourceVersion } = found.metadata ?? {}
    if (leftOut.length > 0 && resourceVersion !== this.#narrowed) {
      this.#narrowed = resourceVersion
      const fields = { configuration: name, leftOut }
      this.#options.log.info(fields, 'somebody else insists that the webhook leaves out more')
    }
    return true
  }

  async #serves(identity: ServingIdentity, signal: AbortSignal): Promise<boolean> {
    const { client, settings, log } = this.#options
    const { url, service } = settings.admission
    this.#askedSince ??= this.#clock.now()
    try {
      if (url !== '') {
        await checkUrl(url, identity.bundle, signal)
        return true
      }
      if (
        await hasReadyEndpoint(client, { namespace: settings.namespace, name: service }, signal)
      ) {
        return true
      }
      log.debug({ service }, 'webhook has no ready endpoint yet')
    } catch (err) {
      signal.throwIfAborted()
      log.debug({ err }, 'webhook does not serve yet')
      // Who may not look must take it on trust.
      if (isForbidden(err)) return true
    }
    if (this.#clock.now() - this.#askedSince < patienceMs) return false
    log.warn({ service, url }, 'webhook was not seen to serve, it is registered all the same')
    return true
  }

  /** Without an owner (kip outside the cluster, or without the right to look) the configuration has none. */
  async #findOwner(signal: AbortSignal): Promise<void> {
    const { client } = this.#options
    const reading = getObject<KubeObject>(client, clusterRoles, ownerName, { signal })
    const role = await unlessForbidden(reading, undefined)
    const uid = role?.metadata?.uid
    const apiVersion = `${clusterRoles.group}/${clusterRoles.version}`
    this.#owner =
      uid === undefined ? undefined : { apiVersion, kind: 'ClusterRole', name: ownerName, uid }
    this.#isOwnerKnown = true
  }
}
