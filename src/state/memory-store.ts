import { Listeners } from '../kube/listeners.ts'
import type { ImageState } from './cached-image.ts'
import { objectName } from './naming.ts'
import { timestamp, withMirror, withNodes, withSource, withUsage } from './stanzas.ts'
import { ConflictError, type ImageStore } from './store.ts'

export interface MemoryStoreOptions {
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number
}

/**
 * The images of a kip that runs without CachedImage objects (the puller alone), and of tests. Same semantics as the
 * cluster's store; what it knows goes with the process.
 */
export function createMemoryStore({ now = Date.now }: MemoryStoreOptions = {}): ImageStore {
  const images = new Map<string, ImageState>()
  const changes = new Listeners<[reference: string]>()
  let version = 0

  const put = (image: ImageState): ImageState => {
    const stored = { ...image, resourceVersion: String(++version) }
    images.set(image.reference, stored)
    changes.tell(image.reference)
    return stored
  }

  /** Writes what `change` makes of the newest state, which must be the one that the caller saw. */
  const write = async (
    seen: ImageState,
    signal: AbortSignal,
    change: (image: ImageState) => ImageState,
  ): Promise<ImageState> => {
    signal.throwIfAborted()
    const current = images.get(seen.reference)
    if (current?.resourceVersion !== seen.resourceVersion) throw new ConflictError(seen.reference)
    const next = change(current)
    return next === current ? current : put(next)
  }

  return {
    synced: Promise.resolve(),
    get: (reference) => images.get(reference),
    list: () => images.values(),
    onChange: changes.add,
    async putUsage(reference, usage, signal) {
      signal.throwIfAborted()
      const current = images.get(reference) ?? {
        reference,
        name: objectName(reference),
        requested: false,
        resourceVersion: '',
        createdAt: timestamp(now()),
        mirrors: [],
        conditions: [],
      }
      const next = withUsage(current, usage)
      if (next !== current) put(next)
    },
    async remove(image, signal) {
      signal.throwIfAborted()
      const current = images.get(image.reference)
      if (current === undefined || current.requested) return
      if (current.resourceVersion !== image.resourceVersion)
        throw new ConflictError(image.reference)
      images.delete(image.reference)
      changes.tell(image.reference)
    },
    async putSource(image, source, signal) {
      await write(image, signal, (current) => withSource(current, source, now()))
    },
    putMirror: (image, mirror, signal) =>
      write(image, signal, (current) => withMirror(current, mirror, now())),
    async putNodes(image, nodes, signal) {
      await write(image, signal, (current) => withNodes(current, nodes, now()))
    },
  }
}
