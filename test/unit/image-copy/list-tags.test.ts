import assert from 'node:assert/strict'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  createRegistryClient,
  type ListTagsOptions,
  listTags,
  type RegistryClient,
  RegistryError,
  type RegistryErrorCode,
} from '../../../src/image-copy/src/index.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { HostileRegistry, Trap } from '../../support/hostile-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const listPath = /\/tags\/list/

let registry: HostileRegistry
let client: RegistryClient

beforeEach(async () => {
  registry = await HostileRegistry.start()
  client = createRegistryClient({
    hosts: () => ({ http: true }),
    retry: { attempts: 2, baseMs: 1, maxMs: 1 },
  })
})
afterEach(async () => {
  await client.close()
  await registry.close()
})

function list(options?: ListTagsOptions): Promise<string[]> {
  return Array.fromAsync(listTags(client, { registry: registry.host, repository: 'a/b' }, options))
}

async function refused(code: RegistryErrorCode, message: RegExp): Promise<void> {
  await assert.rejects(list(), (error) => {
    assert.ok(error instanceof RegistryError, String(error))
    assert.equal(error.code, code)
    assert.match(error.message, message)
    assert.equal(error.repository, 'a/b')
    return true
  })
}

/** Pages are given by what is asked for. */
function pages(
  answer: (query: URLSearchParams) => { readonly tags: unknown; readonly link?: string },
): void {
  registry.play({
    path: listPath,
    answer: (request: IncomingMessage, response: ServerResponse) => {
      const { tags, link } = answer(new URL(request.url ?? '', 'http://x').searchParams)
      const headers = { 'content-type': 'application/json', ...(link && { link }) }
      response.writeHead(200, headers).end(JSON.stringify({ name: 'a/b', tags }))
    },
  })
}

const asked = (): readonly string[] => registry.registry.requests.map(({ path }) => path)

/** In the order of letters, as registries give them. */
const many = (count: number): readonly string[] =>
  Array.from({ length: count }, (_, i) => `v${String(i).padStart(6, '0')}`)

describe('tags of a repository', () => {
  test('come over all pages that the registry links', async () => {
    const all = many(2500)
    pages((query) => {
      const start = query.has('last') ? all.indexOf(query.get('last') ?? '') + 1 : 0
      const tags = all.slice(start, start + 300)
      const more = start + 300 < all.length
      return { tags, ...(more && { link: `</v2/a/b/tags/list?last=${tags.at(-1)}>; rel="next"` }) }
    })
    assert.deepEqual(await list(), all)
    assert.equal(asked().length, 9)
  })

  for (const count of [0, 1, 998, 999, 1000, 1997, 1998, 1999, 5000]) {
    test(`${count} of them come from a registry that pages without links`, async () => {
      const all = many(count)
      pages((query) => {
        // As go-containerregistry's: after the last there is, it begins anew.
        const next = all.findIndex((tag) => tag > (query.get('last') ?? ''))
        return { tags: all.slice(Math.max(0, next)).slice(0, Number(query.get('n'))) }
      })
      assert.deepEqual(await list(), all)
    })

    test(`${count} of them come from a registry that gives all of them at once`, async () => {
      pages(() => ({ tags: many(count) }))
      assert.deepEqual(await list(), many(count))
    })
  }

  test('are none where the list is null', async () => {
    pages(() => ({ tags: null }))
    assert.deepEqual(await list(), [])
  })

  test('come once each, and what is none is passed over', async () => {
    const linked = '</v2/a/b/tags/list?page=2>; rel="next"'
    pages((query) =>
      query.has('page')
        ? { tags: ['two', 'three', 'one'] }
        : {
            tags: ['one', 'one', '', '-x', 'a/b', 'x'.repeat(129), 7, null, ['y'], 'two'],
            link: linked,
          },
    )
    assert.deepEqual(await list(), ['one', 'two', 'three'])
  })

  test('are asked of the registry itself, and not of a mirror that may have fewer', async () => {
    await using mirror = await FakeRegistry.start()
    await client.close()
    client = createRegistryClient({
      hosts: (host) => ({ http: true, ...(host === registry.host && { mirrors: [mirror.host] }) }),
    })
    pages(() => ({ tags: ['one'] }))
    assert.deepEqual(await list(), ['one'])
    assert.equal(mirror.requests.length, 0)
  })

  test('are taken page by page: whoever has enough asks for no more', async () => {
    pages(() => ({ tags: ['one', 'two'], link: '</v2/a/b/tags/list?page=2>; rel="next"' }))
    for await (const tag of listTags(client, { registry: registry.host, repository: 'a/b' })) {
      if (tag === 'two') break
    }
    assert.equal(asked().length, 1)
  })

  test('are asked for again after a failure that passes, of which is told', async () => {
    let failures = 1
    registry.registry.interceptor = (_, response) => {
      failures -= 1
      if (failures < 0) response.end('{"tags":["one"]}')
      else response.writeHead(503).end()
      return true
    }
    const told: string[] = []
    assert.deepEqual(await list({ onEvent: ({ type, image }) => told.push(`${type} ${image}`) }), [
      'one',
    ])
    assert.deepEqual(told, [`retry ${registry.host}/a/b`])
  })

  test('are asked for with the right to pull alone', async () => {
    await using guarded = await FakeRegistry.start({
      auth: { kind: 'bearer', users: { kip: 'secret' } },
    })
    await guarded.client.push(sampleImage({ layers: [noise('tags', 100)] }), 'a/b', 'v1')
    await client.close()
    client = createRegistryClient({
      hosts: () => ({ http: true }),
      credentials: async () => [{ username: 'kip', password: 'secret' }],
    })
    const tags = listTags(client, { registry: guarded.host, repository: 'a/b' })
    assert.deepEqual(await Array.fromAsync(tags), ['v1'])
    assert.deepEqual(guarded.tokens?.asked.at(-1), 'kip repository:a/b:pull')
  })

  test('of no repository are an error that says so', async () => {
    await refused('COPY_NOT_FOUND', /tags\/list.*: 404/)
  })

  test('are not waited for when the caller stops', async () => {
    registry.play({ path: listPath, answer: () => stop.abort(new Error('enough')) })
    const stop = new AbortController()
    await assert.rejects(list({ signal: stop.signal }), /enough/)
    await assert.rejects(list({ signal: stop.signal }), /enough/)
  })
})

describe('lists of tags that are refused', () => {
  test('whose next page is the same one', async () => {
    pages(() => ({ tags: ['one'], link: '</v2/a/b/tags/list?n=999>; rel="next"' }))
    await refused('COPY_PROTOCOL', /pages do not end/)
    assert.equal(asked().length, 1)
  })

  test('whose next page is on another host, which is not asked', async () => {
    const trap = await Trap.start()
    pages(() => ({ tags: ['one'], link: `<http://127.0.0.1:${trap.port}/v2/>; rel="next"` }))
    await refused('COPY_REDIRECT_REFUSED', /another host/)
    assert.equal(trap.requests.length, 0)
    await trap.close()
  })

  test('whose next page is no URL', async () => {
    pages(() => ({ tags: ['one'], link: '<gopher://x>; rel="next"' }))
    await refused('COPY_REDIRECT_REFUSED', /neither https nor http/)
  })

  test('whose pages have no end', async () => {
    const tags = many(40_000)
    let page = 0
    pages(() => {
      page += 1
      return { tags, link: `</v2/a/b/tags/list?page=${page}>; rel="next"` }
    })
    await refused('COPY_PROTOCOL', /more than 1000000 entries/)
    assert.equal(page, 26)
  })

  test('whose empty pages have no end', async () => {
    let page = 0
    pages(() => {
      page += 1
      return { tags: [], link: `</v2/a/b/tags/list?page=${page}>; rel="next"` }
    })
    await refused('COPY_PROTOCOL', /pages do not end/)
    assert.equal(page, 10_000)
  })

  test('of which every page begins anew, so that the rest cannot be had', async () => {
    pages((query) => ({ tags: many(5000).slice(0, Number(query.get('n'))) }))
    await refused('COPY_PROTOCOL', /begins with the same tags/)
    assert.equal(asked().length, 2)
  })

  test('with a page that is too large', async () => {
    const [tag] = many(1)
    registry.play({
      path: listPath,
      answer: (_, response) => {
        response.writeHead(200)
        response.on('error', () => {})
        response.write('{"tags":[')
        const more = (): void => {
          while (response.write(`"${tag}",`.repeat(10_000)));
          response.once('drain', more)
        }
        more()
      },
    })
    await refused('COPY_TOO_LARGE', /tags\/list/)
  })

  for (const body of ['', 'null', '[]', '{}', '{"tags":"one"}', '{"tags":{"0":"one"}}', '<html>'])
    test(`which say ${JSON.stringify(body)}`, async () => {
      registry.body(listPath, 'application/json', Buffer.from(body))
      await refused('COPY_PROTOCOL', /list of tags of .*a\/b: /)
    })
})
