import type { KubeClient } from './client.ts'
import type { DecodedList, Decoder } from './decoder.ts'
import { isExpired } from './errors.ts'
import type { ObjectStore } from './store.ts'

export interface ListOptions<T> {
  readonly client: KubeClient
  readonly path: string
  /** What narrows the list. */
  readonly selectors: Readonly<Record<string, string | undefined>>
  readonly decoder: Decoder<T>
  /** For one page. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

export interface ListPagesOptions<T> extends ListOptions<T> {
  /** Objects a page. */
  readonly pageSize: number
  /** Gets the objects, and is told when the list begins, and when it begins anew. */
  readonly store: Pick<ObjectStore<T>, 'beginReplace' | 'put'>
}

/**
 * Reads a whole list page by page; resolves to its version. A list that outlives its continue token is begun anew; one that
 * does so twice is asked for whole.
 *
 * @throws KubeApiError when a page was refused or did not come; the signal's reason when aborted
 */
export async function listPages<T>(options: ListPagesOptions<T>): Promise<string> {
  const { pageSize, store } = options
  store.beginReplace()
  let restarts = 0
  let continueToken = ''
  for (;;) {
    try {
      const page = await readPage(
        options,
        {
          limit: restarts < 2 ? String(pageSize) : undefined,
          continue: continueToken === '' ? undefined : continueToken,
        },
        (object) => store.put(object),
      )
      continueToken = page.continueToken
      if (continueToken === '') return page.resourceVersion
    } catch (error) {
      if (continueToken === '' || !isExpired(error)) throw error
      restarts += 1
      continueToken = ''
      store.beginReplace()
    }
  }
}

/** The version that the server stands at, for the price of a list of one object. */
export async function listVersion<T>(options: ListOptions<T>): Promise<string> {
  return (await readPage(options, { limit: '1' }, () => {})).resourceVersion
}

async function readPage<T>(
  { client, path, selectors, decoder, timeoutMs, signal }: ListOptions<T>,
  query: Readonly<Record<string, string | undefined>>,
  onObject: Parameters<Decoder<T>['readList']>[2],
): Promise<DecodedList> {
  const answer = await client.raw({
    method: 'GET',
    path,
    query: { ...selectors, ...query },
    accept: decoder.accept.list,
    timeoutMs,
    signal,
  })
  return decoder.readList(answer.contentType, answer.body, onObject)
}
