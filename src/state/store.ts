import type { ImageState, Mirror, Nodes, Source, Usage } from './cached-image.ts'

/**
 * The one shared state: all images that kip knows, by normalised reference. Discovery, resolver, mirror and puller meet
 * here and nowhere else. Two forms: CachedImage objects (`cluster-store.ts`) and in memory (`memory-store.ts`).
 *
 * Writes are whole stanzas and conditional: each names the state it was computed from and rejects with
 * {@link ConflictError} when that is no longer the newest. A writer reads again and decides again; it never repeats the
 * write blindly.
 */
export interface ImageStore {
  /** Resolves when the first full list was read. */
  readonly synced: Promise<void>
  get(reference: string): ImageState | undefined
  list(): IterableIterator<ImageState>
  /** Calls back with the reference of every image that changed or went; returns how to stop. */
  onChange(listener: (reference: string) => void): () => void
  /** Makes the object when there is none. `usage.wanted` empty: nobody wants it any more. */
  putUsage(reference: string, usage: Usage, signal: AbortSignal): Promise<void>
  /** Deletes an object that kip made, was made of `image`, and is no longer wanted; one made by hand stays. */
  remove(image: ImageState, signal: AbortSignal): Promise<void>
  putSource(image: ImageState, source: Source, signal: AbortSignal): Promise<void>
  /** Replaces the entry of `mirror.registry`. Resolves to the state after the write, which a claim builds on. */
  putMirror(image: ImageState, mirror: Mirror, signal: AbortSignal): Promise<ImageState>
  putNodes(image: ImageState, nodes: Nodes, signal: AbortSignal): Promise<void>
}

/** The image changed between the read that a write was computed from and the write. */
export class ConflictError extends Error {
  readonly code = 'KIP_STATE_CONFLICT'
  constructor(reference: string, options?: ErrorOptions) {
    super(`${reference}: changed since it was read; read it again`, options)
    this.name = 'ConflictError'
  }
}
