import { externalSettings } from '../decide/external-puller.ts'
import { applyObject, getObject } from '../kube/apply.ts'
import { type Clock, sleep, systemClock } from '../kube/clock.ts'
import { KubeApiError } from '../kube/errors.ts'
import { ObjectWatch } from '../kube/object-watch.ts'
import { resourceOf } from '../kube/resource.ts'
import type { ConfigMap, KubeObject, Workload } from '../kube/types.ts'
import { untilAborted } from '../kube/until-aborted.ts'
import { type ExternalImages, externalImages, referencesIn } from './external-images.ts'
import type { Puller, PullerOptions } from './puller.ts'
import { shortHash } from './short-hash.ts'
import { wantedSet } from './wanted.ts'

const fieldManager = 'kip-external-puller'

/** Annotation of the ConfigMap, and then of the Deployment's template: the `IMAGES` that KIP is to be started with. */
const imagesAnnotation = 'images.kip/images'
/** Annotation of the ConfigMap: the `IMAGES` that stood there before kip's. */
const beforeAnnotation = 'images.kip/images-before'
/** Annotation of the Deployment's template: when kip last rolled it. */
const rolledAnnotation = 'images.kip/rolled-at'

/** What is deployed together is written together. */
const gatherMs = 30_000
/** A KIP that starts takes every image from every node and pulls all anew: not more often than this. */
const rollIntervalMs = 600_000
const retryMs = 30_000

/**
 * Has an existing kubernetes-image-puller hold what is wanted: keeps the `IMAGES` key of its ConfigMap, and nothing else of
 * it, and starts KIP anew when there are images that it has not been started with. Images that are only no longer wanted go
 * along with the next start.
 */
export function createExternalPuller(options: PullerOptions): Puller {
  return { run: (signal) => new Term(options).run(signal) }
}

class Term {
  readonly #options: PullerOptions
  readonly #clock: Clock
  readonly #now: () => number
  readonly #namespace: string
  #wakeUp = Promise.withResolvers<void>()
  #leftOut = ''

  constructor(options: PullerOptions) {
    const { settings } = options
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#now = options.now ?? Date.now
    this.#namespace = settings.puller.externalNamespace || settings.namespace
  }

  async run(signal: AbortSignal): Promise<void> {
    const { client, store, settings, log } = this.#options
    const stopListening = store.onChange(() => this.#wakeUp.resolve())
    const map = new ObjectWatch<ConfigMap>({
      client,
      resource: resourceOf('configmaps', this.#namespace),
      name: settings.puller.externalConfigMap,
      project: (raw) => raw,
      onChange: () => this.#wakeUp.resolve(),
      log,
      clock: this.#clock,
    })
    try {
      await Promise.all([map.run(signal), this.#rounds(map, signal)])
    } finally {
      stopListening()
    }
  }

  async #rounds(map: ObjectWatch<ConfigMap>, signal: AbortSignal): Promise<void> {
    const { store, log } = this.#options
    const aborted = untilAborted(signal)
    void aborted.then(() => this.#wakeUp.resolve())
    await Promise.race([Promise.all([store.synced, map.synced]), aborted])
    while (!signal.aborted) {
      await sleep(this.#clock, gatherMs, signal).catch(() => undefined)
      if (signal.aborted) return
      this.#wakeUp = Promise.withResolvers()
      const nextMs = await this.#round(map.value, signal).catch((error: unknown) => {
        if (signal.aborted) return retryMs
        if (!(error instanceof KubeApiError)) throw error
        log.error({ err: error }, 'KIP was not told, trying again')
        return retryMs
      })
      const cancel = Number.isFinite(nextMs)
        ? this.#clock.timer(() => this.#wakeUp.resolve(), nextMs)
        : () => undefined
      await this.#wakeUp.promise
      cancel()
    }
  }

  /** Writes what differs; gives the milliseconds after which time alone calls for another round. */
  async #round(map: ConfigMap | undefined, signal: AbortSignal): Promise<number> {
    const { settings, store, mapping, log } = this.#options
    const { externalConfigMap: name } = settings.puller
    if (map === undefined) {
      log.warn({ configMap: `${this.#namespace}/${name}` }, 'there is no such ConfigMap of KIP')
      return retryMs
    }
    const now = this.#now()
    const held = externalSettings(settings, map.data ?? {})
    const set = wantedSet({ store, settings: held, mapping, now })
    const images = externalImages(set.references.values())
    this.#tellLeftOut(images)
    // KIP does not start without an image.
    if (images.text === '') return Number.POSITIVE_INFINITY
    const due = await this.#keep(map, images, signal)
    const rollMs = await this.#roll(due, now, signal)
    return Math.min(rollMs, (set.recheckAt ?? Number.POSITIVE_INFINITY) - now)
  }

  /** Keeps the key; gives the hash of the `IMAGES` that KIP is to be started with. */
  async #keep(map: ConfigMap, images: ExternalImages, signal: AbortSignal): Promise<string> {
    const { client, settings, log } = this.#options
    const before = map.data?.IMAGES ?? ''
    const { [imagesAnnotation]: known, [beforeAnnotation]: first } = map.metadata?.annotations ?? {}
    const held = referencesIn(before)
    const added = [...images.references].filter((reference) => !held.has(reference))
    const due = added.length > 0 ? shortHash(images.text, 16) : (known ?? '')
    if (before === images.text) return due
    const name = settings.puller.externalConfigMap
    const object = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        name,
        annotations: {
          [beforeAnnotation]: first ?? before,
          ...(due === '' ? {} : { [imagesAnnotation]: due }),
        },
      },
      data: { IMAGES: images.text },
    }
    const write = { fieldManager, force: true, signal }
    await applyObject(
      client,
      resourceOf('configmaps', this.#namespace),
      object as KubeObject,
      write,
    )
    log.info(
      { configMap: name, images: images.references.size, added: added.slice(0, 10) },
      'IMAGES of KIP written',
    )
    return due
  }

  /** Starts KIP anew if it was not yet for these images, and not too soon after the last time. */
  async #roll(due: string, now: number, signal: AbortSignal): Promise<number> {
    const { client, settings, log } = this.#options
    if (due === '') return Number.POSITIVE_INFINITY
    const name = settings.puller.externalDeployment
    const resource = resourceOf('deployments', this.#namespace)
    const found = await getObject<Workload>(client, resource, name, { signal })
    if (found === undefined) {
      log.warn({ deployment: `${this.#namespace}/${name}` }, 'there is no such Deployment of KIP')
      return retryMs
    }
    const annotations = found.spec?.template?.metadata?.annotations ?? {}
    if (annotations[imagesAnnotation] === due) return Number.POSITIVE_INFINITY
    const last = Date.parse(annotations[rolledAnnotation] ?? '')
    const waitMs = Number.isNaN(last) ? 0 : last + rollIntervalMs - now
    if (waitMs > 0) return waitMs
    const stamp = { [imagesAnnotation]: due, [rolledAnnotation]: new Date(now).toISOString() }
    const object = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, uid: found.metadata?.uid ?? '' },
      spec: { template: { metadata: { annotations: stamp } } },
    }
    const write = { fieldManager, force: true, signal }
    await applyObject(client, resource, object as KubeObject, write)
    log.info({ deployment: name }, 'KIP is started anew for its images')
    return Number.POSITIVE_INFINITY
  }

  #tellLeftOut({ leftOut }: ExternalImages): void {
    const text = leftOut.join()
    if (text === this.#leftOut) return
    this.#leftOut = text
    if (leftOut.length > 0)
      this.#options.log.warn(
        { count: leftOut.length, images: leftOut.slice(0, 10) },
        'more images than a variable holds; these are left out',
      )
  }
}
