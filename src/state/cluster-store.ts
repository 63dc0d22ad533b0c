import { applyObject, createObject, deleteObject, getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Clock } from '../kube/clock.ts'
import { isAlreadyExists, isConflict, isNotFound } from '../kube/errors.ts'
import { Listeners } from '../kube/listeners.ts'
import type { Log } from '../kube/log.ts'
import { Reflector } from '../kube/reflector.ts'
import type { KubeObject } from '../kube/types.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { ImageState } from './cached-image.ts'
import { NameTakenError } from './errors.ts'
import { ImageIndex } from './image-index.ts'
import { objectName } from './naming.ts'
import { newObject, readObject, resource, type StoredImage, stanzaObject } from './object.ts'
import {
  type FieldManager,
  withDuplicate,
  withMirror,
  withNodes,
  withSource,
  withUsage,
} from './stanzas.ts'
import { ConflictError, type ImageStore } from './store.ts'

export interface ClusterStoreOptions {
  readonly client: KubeClient
  readonly log: Log
  readonly metrics: Metrics
  /** What the watch waits by; default: the machine's. */
  readonly clock?: Clock
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number
}

/** The images as CachedImage objects. {@link run} watches them until the signal aborts; it must run for `synced`. */
export interface ClusterStore extends ImageStore {
  run(signal: AbortSignal): Promise<void>
}

/**
 * Keeps the state of images in CachedImage objects: read by watch, written by server-side apply to the status, one
 * field manager a stanza, each write carrying the resourceVersion that it was computed from.
 *
 * An image that was written is read back as written although the watch is behind. A write that would change nothing is
 * not sent.
 *
 * @throws NameTakenError from `putUsage` when another reference stands under the name that the image would have
 */
export function createClusterStore(options: ClusterStoreOptions): ClusterStore {
  const { client, log, metrics, clock, now = Date.now } = options
  const changes = new Listeners<[reference: string]>()
  const index = new ImageIndex(changes.tell)
  const writes = metrics.counter(
    'kip_state_writes_total',
    'Writes of CachedImage objects, by field manager and result.',
    ['manager', 'result'],
  )
  const reflector = new Reflector<StoredImage>({
    client,
    resource,
    project: readObject,
    onEvent: ({ type, value }) => {
      if (type === 'deleted') {
        index.delete(value.name, value.uid)
        return
      }
      if (value.image === undefined) {
        log.warn(
          { object: value.name, image: value.written },
          'CachedImage holds no valid image reference and is ignored',
        )
      }
      index.put(value)
    },
    onListing: () => index.listing(),
    onReplaced: () => index.listed(reflector.values()),
    log,
    metrics: metrics.reflector('state/cachedimages'),
    ...(clock && { clock }),
  })

  /** Sends a write; the answer is the newest state of the object until the watch tells more. */
  async function send(
    manager: FieldManager,
    reference: string,
    object: { readonly name: string; readonly uid: string },
    request: () => Promise<KubeObject>,
  ): Promise<void> {
    try {
      index.put(readObject(await request()))
      writes.inc({ manager, result: 'ok' })
    } catch (error) {
      const gone = isNotFound(error)
      const lost = gone || isConflict(error)
      writes.inc({ manager, result: lost ? 'conflict' : 'error' })
      if (gone) index.delete(object.name, object.uid)
      if (lost) throw new ConflictError(reference, { cause: error })
      throw error
    }
  }

  function apply(
    image: ImageState,
    uid: string,
    manager: FieldManager,
    signal: AbortSignal,
  ): Promise<void> {
    return send(manager, image.reference, { name: image.name, uid }, () =>
      applyObject<KubeObject>(client, resource, stanzaObject(image, manager), {
        fieldManager: manager,
        // The stanza is ours whole: fields that somebody edited by hand come back.
        force: true,
        subresource: 'status',
        signal,
      }),
    )
  }

  /** Writes what `change` makes of the newest state, which must be the one that the caller saw. */
  async function write(
    seen: ImageState,
    manager: FieldManager,
    signal: AbortSignal,
    change: (image: ImageState) => ImageState,
  ): Promise<ImageState> {
    const { reference } = seen
    const first = index.objectsOf(reference)[0]
    const current = index.get(reference)
    if (
      first === undefined ||
      current === undefined ||
      current.name !== seen.name ||
      current.resourceVersion !== seen.resourceVersion
    ) {
      throw new ConflictError(reference)
    }
    const next = change(current)
    if (next === current) return current
    await apply(next, first.uid, manager, signal)
    const after = index.get(reference)
    if (after === undefined) throw new ConflictError(reference)
    return after
  }

  async function create(reference: string, signal: AbortSignal): Promise<ImageState> {
    const name = objectName(reference)
    let raw: KubeObject | undefined
    try {
      raw = await createObject<KubeObject>(client, resource, newObject(name, reference), {
        fieldManager: 'kip-discovery',
        signal,
      })
      writes.inc({ manager: 'kip-discovery', result: 'ok' })
    } catch (error) {
      if (!isAlreadyExists(error)) throw error
      raw = await getObject<KubeObject>(client, resource, name, { signal })
      if (raw === undefined) throw new ConflictError(reference, { cause: error })
      const found = readObject(raw)
      if (found.image?.reference !== reference) {
        throw new NameTakenError(name, reference, found.written)
      }
    }
    index.put(readObject(raw))
    const image = index.get(reference)
    if (image === undefined) throw new ConflictError(reference)
    return image
  }

  /** Says on further objects of a reference that they are not used; those that kip made itself go. */
  async function settleDuplicates(reference: string, signal: AbortSignal): Promise<void> {
    const [first, ...others] = index.objectsOf(reference)
    for (const { managed, name, uid, resourceVersion, image } of others) {
      if (managed) {
        await deleteObject(client, resource, name, { uid, resourceVersion, signal })
        index.deleted(name, uid)
      } else if (
        image !== undefined &&
        !image.conditions.some(({ type }) => type === 'Duplicate')
      ) {
        const conditions = withDuplicate(image.conditions, first?.name ?? '', now())
        await apply({ ...image, conditions }, uid, 'kip-discovery', signal)
      }
    }
  }

  return {
    run: (signal) => reflector.run(signal),
    synced: reflector.synced,
    get: (reference) => index.get(reference),
    list: () => index.list(),
    onChange: changes.add,
    async putUsage(reference, usage, signal) {
      const image = index.get(reference) ?? (await create(reference, signal))
      await write(image, 'kip-discovery', signal, (current) => withUsage(current, usage))
      await settleDuplicates(reference, signal)
    },
    async remove(image, signal) {
      const { reference } = image
      const current = index.get(reference)
      const object = index.objectsOf(reference)[0]
      if (current === undefined || object === undefined || current.requested) return
      if (current.resourceVersion !== image.resourceVersion) throw new ConflictError(reference)
      const { name, uid, resourceVersion } = object
      try {
        await deleteObject(client, resource, name, { uid, resourceVersion, signal })
      } catch (error) {
        if (isConflict(error)) throw new ConflictError(reference, { cause: error })
        throw error
      }
      index.deleted(name, uid)
    },
    async putSource(image, source, signal) {
      await write(image, 'kip-resolver', signal, (current) => withSource(current, source, now()))
    },
    putMirror: (image, mirror, signal) =>
      write(image, 'kip-mirror', signal, (current) => withMirror(current, mirror, now())),
    async putNodes(image, nodes, signal) {
      await write(image, 'kip-puller', signal, (current) => withNodes(current, nodes, now()))
    },
  }
}
