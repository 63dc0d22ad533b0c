import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  BlobPlaces,
  type CopyResult,
  copyImage,
  createRegistryClient,
  type RegistryClientOptions,
} from '../../../src/image-copy/src/index.ts'
import type { Image } from '../../cluster/images/image.ts'
import { FakeRegistry, type FakeRegistryOptions, fail } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const digest = (i: number): string => `sha256:${i.toString(16).padStart(64, '0')}`
const heading = (lines: number): string => `image-copy blob-places 1 ${lines}\n`

describe('the text of what was seen', () => {
  test('comes back as it was', () => {
    const places = new BlobPlaces()
    assert.equal(places.changed, false)
    places.add('r.test:5000', digest(1), 'a/b')
    places.add('r.test:5000', digest(1), 'c/d')
    places.add('[::1]:5000', `sha512:${'f'.repeat(128)}`, 'e')
    assert.equal(places.changed, true)
    const text = places.text()
    assert.equal(
      text,
      `${heading(2)}${digest(1)} r.test:5000 a/b c/d\nsha512:${'f'.repeat(128)} [::1]:5000 e\n`,
    )
    const again = BlobPlaces.parse(text)
    assert.equal(again.changed, false)
    assert.equal(again.text(), text)
    assert.equal(again.holder('r.test:5000', digest(1), 'x'), 'c/d')
    assert.equal(BlobPlaces.parse(new BlobPlaces().text()).text(), heading(0))
  })

  const sound = `${digest(1)} r.test a/b\n`
  const wrong: Readonly<Record<string, string>> = {
    'nothing at all': '',
    'another text': '{"auths":{}}',
    'another version': 'image-copy blob-places 2 0\n',
    'a cut line': `${heading(1)}${sound.slice(0, -1)}`,
    'a line less': `${heading(2)}${sound}`,
    'a line more': `${heading(1)}${sound}${sound}`,
    'no number': `image-copy blob-places 1 \n${sound}`,
    'a digest that is none': `${heading(1)}sha256:1 r.test a/b\n`,
    'a digest in upper case': `${heading(1)}${sound.replace(/0001/, '000A')}`,
    'a host that is none': `${heading(1)}${digest(1)} r.test/x a/b\n`,
    'a host that is a repository elsewhere': `${heading(2)}${digest(1)} r.test a_b\n${digest(2)} a_b c\n`,
    'a repository that is none': `${heading(1)}${digest(1)} r.test a/../b\n`,
    'a query in a repository': `${heading(1)}${digest(1)} r.test a?x=y\n`,
    'no repository': `${heading(1)}${digest(1)} r.test\n`,
    'an empty repository': `${heading(1)}${digest(1)} r.test \n`,
    'too many repositories': `${heading(1)}${digest(1)} r.test a b c d e\n`,
    'line ends of another system': `${heading(1)}${sound}`.replaceAll('\n', '\r\n'),
    'more bytes than are kept': `${heading(1)}${' '.repeat(17 * 1024 * 1024)}`,
    'more lines than are kept': `${heading(100_001)}${sound.repeat(100_001)}`,
  }
  for (const [what, text] of Object.entries(wrong))
    test(`is refused as a whole for ${what}`, () => {
      assert.throws(() => BlobPlaces.parse(text), SyntaxError)
    })

  test('is refused for any part of it that is missing', () => {
    const places = new BlobPlaces()
    for (let i = 0; i < 20; i += 1) places.add('r.test', digest(i), `a/b${i}`)
    const text = places.text()
    for (let length = 0; length < text.length; length += 1)
      assert.throws(() => BlobPlaces.parse(text.slice(0, length)), SyntaxError, `${length}`)
  })

  test('says what is wrong with it without a word of it', () => {
    assert.throws(
      () => BlobPlaces.parse(`hunter2\n${'x'.repeat(1e6)}`),
      ({ message }: Error) => !message.includes('hunter2') && message.length < 100,
    )
    assert.throws(() => BlobPlaces.parse(`${heading(2)}${sound}x\n`), /line 3/)
  })

  test('holds the newest of too many blobs and repositories', () => {
    const places = new BlobPlaces()
    for (let i = 0; i < 100_010; i += 1) places.add('r.test', digest(i), 'a')
    for (const name of ['b', 'c', 'd', 'e', 'a']) places.add('r.test', digest(20), name)
    const again = BlobPlaces.parse(places.text())
    assert.equal(again.holder('r.test', digest(9), 'x'), undefined)
    assert.equal(again.holder('r.test', digest(10), 'x'), 'a')
    assert.ok(places.text().endsWith(`${digest(20)} r.test c d e a\n`))
    for (let i = 0; i < 10; i += 1) again.add('r.test', digest(i), 'b')
    const third = BlobPlaces.parse(again.text())
    assert.equal(third.holder('r.test', digest(19), 'x'), undefined)
    assert.equal(third.holder('r.test', digest(21), 'x'), 'a')
    assert.equal(third.holder('r.test', digest(0), 'x'), 'b')
  })

  test('holds the newest of too many bytes', () => {
    const places = new BlobPlaces()
    const long = (i: number): string => `${'a'.repeat(240)}/${i}`
    for (let i = 0; i < 60_000; i += 1) places.add('r.test', digest(i), long(i))
    const text = places.text()
    assert.ok(text.length <= 16 * 1024 * 1024)
    const again = BlobPlaces.parse(text)
    assert.equal(again.holder('r.test', digest(59_999), 'x'), long(59_999))
    assert.equal(again.holder('r.test', digest(0), 'x'), undefined)
  })

  test('takes in what another run kept meanwhile', () => {
    const first = new BlobPlaces()
    first.add('r.test', digest(1), 'old')
    first.add('r.test', digest(2), 'old')
    const [one, other] = [BlobPlaces.parse(first.text()), BlobPlaces.parse(first.text())]
    one.add('r.test', digest(1), 'one')
    one.add('r.test', digest(3), 'one')
    other.add('r.test', digest(4), 'other')
    other.drop('r.test', digest(2))
    const both = BlobPlaces.parse(other.text(BlobPlaces.parse(one.text())))
    const found = [1, 2, 3, 4].map((i) => both.holder('r.test', digest(i), 'x'))
    assert.deepEqual(found, ['one', undefined, 'one', 'other'])
  })
})

describe('what is known of a blob', () => {
  test('is no place for the repository that has it, nor another host', () => {
    const places = new BlobPlaces()
    places.add('r.test', digest(1), 'a')
    places.add('r.test', digest(1), 'b')
    assert.equal(places.holder('r.test', digest(1), 'c'), 'b')
    assert.equal(places.holder('r.test', digest(1), 'a'), undefined)
    assert.equal(places.holder('r.test:443', digest(1), 'c'), undefined)
    assert.equal(places.holder('r.tes', digest(1), 'c'), undefined)
  })

  test('is dropped where it was wrong, and left out where it may not be asked', () => {
    const places = new BlobPlaces()
    for (const name of ['a', 'b', 'c']) places.add('r.test', digest(1), name)
    places.drop('r.test', digest(1), 'c')
    assert.equal(places.holder('r.test', digest(1), 'x'), 'b')
    places.close('r.test', 'b')
    assert.equal(places.holder('r.test', digest(1), 'x'), 'a')
    places.drop('r.test', digest(1))
    assert.equal(places.holder('r.test', digest(1), 'x'), undefined)
    assert.equal(places.text(), heading(0))
  })
})

describe('a second run', () => {
  let source: FakeRegistry
  let target: FakeRegistry
  let image: Image
  /** What the runs before left. */
  let kept: string

  async function start(to: FakeRegistryOptions = {}): Promise<void> {
    source = await FakeRegistry.start()
    target = await FakeRegistry.start(to)
    image = sampleImage({ layers: [noise('places', 2_000_000), noise('more', 1000)] })
    await source.client.push(image, 'a/b', 'v1')
    kept = new BlobPlaces().text()
  }
  const stop = async (): Promise<void> => {
    await Promise.all([source.close(), target.close()])
  }
  beforeEach(() => start())
  afterEach(stop)

  /** A run of its own, with what the one before left. */
  async function run(repository: string, options: RegistryClientOptions = {}): Promise<CopyResult> {
    const blobPlaces = BlobPlaces.parse(kept)
    const client = createRegistryClient({
      hosts: () => ({ http: true }),
      retry: { baseMs: 1, maxMs: 2 },
      blobPlaces,
      ...options,
    })
    source.takeLog()
    target.takeLog()
    try {
      return await copyImage(
        client,
        { registry: source.host, repository: 'a/b', tag: 'v1' },
        { registry: target.host, repository, tag: 'v1' },
      )
    } finally {
      kept = blobPlaces.text()
      await client.close()
    }
  }

  const blobRequests = (registry: FakeRegistry): string[] =>
    registry.takeLog().filter((line) => line.includes('/blobs/'))

  function requireWhole(repository: string): void {
    const held = target.repository(repository)
    assert.equal(held.tags.get('v1'), image.digest)
    for (const { digest } of image.blobs) assert.ok(held.blobs.has(digest))
    assert.equal(target.uploads.size, 0, 'an upload was left open')
  }

  test('into another repository mounts every blob by one request, and reads none', async () => {
    await run('first')
    const { mounted, blobs } = await run('second')
    requireWhole('second')
    assert.deepEqual({ mounted, blobs }, { mounted: 3, blobs: 0 })
    const requests = blobRequests(target)
    assert.equal(requests.length, 3)
    for (const line of requests) assert.match(line, /^POST .*[?&]from=first 201$/)
    assert.deepEqual(blobRequests(source), [])
  })

  test('sends what is gone, with no request more than one that remembers nothing', async () => {
    await run('first')
    const remembered = kept
    target.repositories.delete('first')
    kept = new BlobPlaces().text()
    await run('elsewhere')
    const without = blobRequests(target).length
    target.repositories.delete('elsewhere')
    kept = remembered
    const { mounted, blobs } = await run('second')
    requireWhole('second')
    assert.deepEqual({ mounted, blobs }, { mounted: 0, blobs: 3 })
    assert.ok(blobRequests(target).length <= without)
    // And knows better the next time.
    await run('third')
    for (const line of blobRequests(target)) assert.match(line, /from=second 201$/)
  })

  test('sends what it may not mount, and asks for that repository no more', async () => {
    await run('first')
    const others = Array.from({ length: 100 }, (_, i) => noise(`closed ${i}`, 100))
    const many = sampleImage({ layers: others })
    await source.client.push(many, 'a/b', 'v1')
    image = many
    await run('first')
    target.interceptor = ({ url = '' }, response) => {
      if (!url.includes('from=first')) return false
      fail(response, 403, 'DENIED')
      return true
    }
    await run('second')
    requireWhole('second')
    const denied = blobRequests(target).filter((line) => line.endsWith(' 403'))
    // Those that were on their way together.
    assert.ok(denied.length <= 64, `${denied.length} of ${others.length} blobs were asked for`)
  })

  for (const how of ['fails', 'takes too long'])
    test(`sends what the target ${how} to mount, at each try`, async () => {
      await run('first')
      target.interceptor = ({ url = '' }, response) => {
        if (!url.includes('from=first')) return false
        if (how === 'fails') fail(response, 500, 'UNKNOWN')
        return true
      }
      const retry = { attempts: 2, baseMs: 1, maxMs: 2 }
      const { blobs } = await run('second', { retry, timeouts: { requestMs: 1000 } })
      requireWhole('second')
      assert.equal(blobs, 3)
    })

  test('into a repository that has the blobs asks that one', async () => {
    await run('first')
    await run('second')
    target.repository('first').tags.clear()
    target.repository('first').manifests.clear()
    const { skipped } = await run('first')
    assert.equal(skipped, 3)
    for (const line of blobRequests(target)) assert.doesNotMatch(line, /from=second/)
  })

  test('mounts nothing for the word of a host of another name', async () => {
    await run('first')
    kept = kept.replaceAll(target.host, target.host.replace('127.0.0.1', '127.0.0.2'))
    const { blobs } = await run('second')
    assert.equal(blobs, 3)
  })

  test('asks for leave to read where it mounts from', async () => {
    await stop()
    await start({ auth: { kind: 'bearer', users: { somebody: 'secret' } } })
    const credentials = async () => [{ username: 'somebody', password: 'secret' }]
    await run('first', { credentials })
    await run('second', { credentials })
    requireWhole('second')
    const tokens = target.requests.filter(({ path }) => path.startsWith('/token'))
    assert.ok(
      tokens.some(({ path }) => decodeURIComponent(path).includes('repository:first:pull&')),
      'no token to read the first repository',
    )
  })

  test('keeps nothing of a copy that failed but what is there', async () => {
    target.interceptor = ({ method, url = '' }, response) => {
      if (method !== 'PUT' || !url.includes(encodeURIComponent(image.blobs[2]?.digest ?? '')))
        return false
      fail(response, 403, 'DENIED')
      return true
    }
    await assert.rejects(run('first'))
    const held = target.repository('first').blobs
    const lines = kept.split('\n').slice(1, -1)
    for (const line of lines) assert.ok(held.has(line.split(' ')[0] ?? ''), line)
  })
})
