import { RegistryError, type RegistryErrorCode } from '../errors.ts'
import { isTag } from '../reference.ts'
import type { Context } from './context.ts'
import { nextPage } from './next-page.ts'
import type { Place, Repository } from './repository.ts'
import type { RegistryAnswer } from './requests.ts'

/** Some registries take no more than a thousand, and where there are no links the pages after the first are one larger. */
const pageSize = 999
/** Some registries give all tags at once, however many were asked for: this is some hundred thousand of usual length. */
const maxPageBytes = 16 * 1024 * 1024
/** Some give no more than a hundred on a page: these are as many tags as are taken in all. */
const maxPages = 10_000
const maxTags = 1_000_000

/** Where a page of a list of tags is. */
interface Page {
  readonly url: string | URL
  /** How many it holds when another may follow without a link to it; undefined: the registry links its pages. */
  readonly full?: number
}

/** What stands on a page. */
interface Listed {
  readonly tags: ReadonlySet<string>
  /** Also counted: what is no tag, or stands there twice. */
  readonly entries: number
  readonly linked: Page | undefined
}

/**
 * Reads the names of all tags of a repository, each once, from its registry itself: a mirror may have fewer. What is no tag is
 * passed over.
 *
 * @throws RegistryError when they cannot be had to the last
 */
export async function* readTags(
  repository: Repository,
  context: Context,
): AsyncGenerator<string, void> {
  const place = repository.write
  const seen = new Set<string>()
  const visited = new Set<string>()
  let entries = 0
  let page: Page | undefined = { url: listUrl(place, pageSize), full: pageSize }
  while (page !== undefined) {
    if (visited.size === maxPages || visited.has(String(page.url)))
      throw unlistable(place, 'its pages do not end')
    visited.add(String(page.url))
    const listed = await readPage(place, page.url, context)
    entries += listed.entries
    if (entries > maxTags) throw unlistable(place, `it has more than ${maxTags} entries`)
    page = listed.linked ?? pageAfter(page, listed, seen, place)
    for (const tag of listed.tags) {
      if (seen.has(tag)) continue
      seen.add(tag)
      yield tag
    }
  }
}

function listUrl({ path }: Place, count: number): string {
  return `/v2/${path}/tags/list?n=${count}`
}

async function readPage(place: Place, url: string | URL, context: Context): Promise<Listed> {
  const { endpoint, path, scopes } = place
  const answer = await endpoint.fetch(
    { method: 'GET', url, repository: path, scopes, expect: [200], maxBytes: maxPageBytes },
    context,
  )
  const names = namesIn(answer.body, place)
  const tags = names.filter((name): name is string => typeof name === 'string' && isTag(name))
  return { tags: new Set(tags), entries: names.length, linked: linkedPage(answer, place) }
}

function namesIn(bytes: Buffer, place: Place): readonly unknown[] {
  let list: unknown
  try {
    list = JSON.parse(bytes.toString('utf8'))
  } catch {
    throw unlistable(place, 'it is not JSON')
  }
  const { tags } = (list ?? {}) as { tags?: unknown }
  // Of a repository whose tags were all deleted.
  if (tags === null) return []
  if (!Array.isArray(tags)) throw unlistable(place, 'the answer holds no "tags"')
  return tags
}

function linkedPage(answer: RegistryAnswer, place: Place): Page | undefined {
  const next = nextPage(answer)
  if (next === undefined) return undefined
  if (next.same) return { url: next.place }
  throw unlistable(place, 'its next page is on another host', 'COPY_REDIRECT_REFUSED')
}

/**
 * Not every registry links its pages: one as large as was asked for may have another after it. That is asked for from the last
 * tag but one on, and so has the last one again where the registry heeds it.
 */
function pageAfter(
  { full }: Page,
  { tags, entries }: Listed,
  seen: ReadonlySet<string>,
  place: Place,
): Page | undefined {
  if (entries !== full) return undefined
  if (tags.intersection(seen).size > 1)
    throw unlistable(place, 'every page begins with the same tags')
  const last = [...tags].at(-2)
  if (last === undefined) return undefined
  const next = pageSize + 1
  return { url: `${listUrl(place, next)}&last=${encodeURIComponent(last)}`, full: next }
}

function unlistable(
  { endpoint, path }: Place,
  why: string,
  code: RegistryErrorCode = 'COPY_PROTOCOL',
): RegistryError {
  return new RegistryError(code, `list of tags of ${endpoint.host}/${path}: ${why}`, {
    host: endpoint.host,
    registry: endpoint.name,
    repository: path,
  })
}
