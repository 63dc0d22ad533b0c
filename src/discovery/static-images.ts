import { formatReference, parseReference } from '@containers/image-copy'
import { ConflictError, type ImageStore } from '../state/store.ts'
import { planUsage } from './usage.ts'

/** The static IMAGES, normalised, each once; an item that is no reference was reported with the configuration. */
export function staticReferences(images: readonly { readonly image: string }[]): readonly string[] {
  const references = images.flatMap(({ image }) => {
    try {
      return [formatReference(parseReference(image))]
    } catch {
      return []
    }
  })
  return [...new Set(references)]
}

/**
 * Says in the store that the static IMAGES are wanted: all that is known of users where discovery is off and the puller
 * runs alone. Nothing is watched.
 */
export async function putStaticImages(
  store: ImageStore,
  images: readonly { readonly image: string }[],
  options: { readonly signal: AbortSignal; readonly now?: () => number },
): Promise<void> {
  const { signal, now = Date.now } = options
  await store.synced
  for (const reference of staticReferences(images)) {
    for (;;) {
      const plan = planUsage({
        users: { pods: 0, workloads: 0, namespaces: [], owners: [] },
        image: store.get(reference),
        isStatic: true,
        optedOut: false,
        keepSeconds: 0,
        now: now(),
      })
      if (plan.action !== 'put') break
      try {
        await store.putUsage(reference, plan.usage, signal)
        break
      } catch (error) {
        if (!(error instanceof ConflictError)) throw error
      }
    }
  }
}
