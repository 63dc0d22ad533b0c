import { getObject } from '../../kube/apply.ts'
import type { KubeClient } from '../../kube/client.ts'
import { resourcePath } from '../../kube/resource.ts'
import type { KubeList, KubeObject } from '../../kube/types.ts'
import type { ImageState } from '../../state/cached-image.ts'
import { objectName } from '../../state/naming.ts'
import { readObject, resource } from '../../state/object.ts'

const PAGE_SIZE = 250

/** The images that a cluster knows; all of them are listed once at most, and only for one that is not under its name. */
export class KnownImages {
  readonly #client: KubeClient
  readonly #signal: AbortSignal
  #all: Promise<readonly ImageState[]> | undefined

  constructor({ client, signal }: { readonly client: KubeClient; readonly signal: AbortSignal }) {
    this.#client = client
    this.#signal = signal
  }

  /**
   * Finds what is known of an image: the object of the name that kip would give it, else one that somebody made by hand, else
   * the one whose copy it is.
   *
   * @param reference normalised
   * @throws KubeApiError, 404 where the cluster has no CachedImages
   */
  async find(reference: string): Promise<ImageState | undefined> {
    const name = objectName(reference)
    const found = await getObject(this.#client, resource, name, { signal: this.#signal })
    const byName = found && readObject(found).image
    if (byName?.reference === reference && !isDuplicate(byName)) return byName
    this.#all ??= listImages(this.#client, this.#signal)
    const all = (await this.#all).filter((image) => !isDuplicate(image))
    return (
      all.find((image) => image.reference === reference) ??
      all.find(({ mirrors }) => mirrors.some((copy) => isCopy(copy, reference)))
    )
  }
}

function isDuplicate({ conditions }: ImageState): boolean {
  return conditions.some(({ type, status }) => type === 'Duplicate' && status === 'True')
}

/** With the digest that pods name beside the tag, or without. */
function isCopy(
  copy: { readonly reference: string; readonly digest?: string },
  reference: string,
): boolean {
  return copy.reference === reference || `${copy.reference}@${copy.digest}` === reference
}

async function listImages(client: KubeClient, signal: AbortSignal): Promise<ImageState[]> {
  const path = resourcePath(resource)
  const images: ImageState[] = []
  let token: string | undefined
  do {
    const query = { limit: String(PAGE_SIZE), continue: token }
    const page = await client.request<KubeList<KubeObject>>({ method: 'GET', path, query, signal })
    images.push(...(page.items ?? []).flatMap((object) => readObject(object).image ?? []))
    token = page.metadata?.continue || undefined
  } while (token !== undefined)
  return images
}
