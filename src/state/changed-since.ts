import type { ImageState } from './cached-image.ts'
import type { ImageStore } from './store.ts'

/** Waits until the store holds another version of the image, or none: what to do after a conflict, before trying again. */
export function changedSince(
  store: ImageStore,
  image: ImageState,
  signal: AbortSignal,
): Promise<void> {
  const { reference, resourceVersion } = image
  return new Promise((resolve, reject) => {
    const finish = (settle: () => void): void => {
      stop()
      signal.removeEventListener('abort', onAbort)
      settle()
    }
    const onAbort = (): void => finish(() => reject(signal.reason))
    const check = (): void => {
      if (store.get(reference)?.resourceVersion !== resourceVersion) finish(resolve)
    }
    const stop = store.onChange((other) => {
      if (other === reference) check()
    })
    signal.addEventListener('abort', onAbort)
    if (signal.aborted) onAbort()
    else check()
  })
}
