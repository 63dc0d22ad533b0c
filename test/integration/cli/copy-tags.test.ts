import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { imageOf, indexOf, layerOf } from '../../cluster/images/image.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { type CopyRun, kipCopy } from '../../support/copy-command.ts'
import { FakeRegistry, fail } from '../../support/fake-registry.ts'
import { type IndependentTools, independentTools } from '../../support/independent-tools.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

function objects({ stdout }: CopyRun): readonly Record<string, unknown>[] {
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

function daysAgo(days: number): string {
  return new Date(Date.now() - days * 86_400_000).toISOString()
}

const kinds = ['distribution 2.8', 'distribution 3', 'go-containerregistry'] as const

for (const kind of kinds) {
  const skip = (await whyNoRegistry(kind)) ?? false
  describe(`kip copy of tags from ${kind}`, { skip, timeout: 120_000 }, () => {
    let source: TestRegistry
    let target: TestRegistry
    let independent: IndependentTools
    const digests = new Map<string, string>()
    const kip = (...args: readonly string[]): Promise<CopyRun> =>
      kipCopy(['--http', source.host, '--http', target.host, ...args])
    const pair = (to: string): readonly [string, string] => [
      `${source.host}/app`,
      `${target.host}/${to}`,
    ]
    /** Each as it is at the source, and fit for others. */
    const requireCopied = async (to: string, tags: readonly string[]): Promise<void> => {
      assert.deepEqual(await target.client.tags(to), [...tags].sort())
      for (const tag of tags) {
        assert.equal((await target.client.manifest(to, tag))?.digest, digests.get(tag))
        await independent.validate(to, tag, 'whole')
      }
    }

    before(async () => {
      source = await startRegistry({ kind })
      target = await startRegistry({ kind: kind === 'distribution 2.8' ? 'distribution 3' : kind })
      independent = await independentTools(target)
      const tags = ['1.9', '1.10', '1.10.1', 'v2.0.0-rc.1', '1.10-alpine', '1.9-alpine', 'edge']
      for (const [i, tag] of tags.entries())
        digests.set(tag, await source.client.push(tinyImage(i), 'app', tag))
    })
    after(async () => {
      await independent?.[Symbol.asyncDispose]()
      await source?.close()
      await target?.close()
    })

    test('all of them arrive, and the second time they are there', async () => {
      const first = await kip('--tags', '*', ...pair('all'))
      assert.equal(first.code, 0, first.stderr)
      assert.match(first.stdout, /7 images: 7 copied/)
      await requireCopied('all', [...digests.keys()])
      const second = await kip('--tags', '*', ...pair('all'))
      assert.match(second.stdout, /7 images: 7 there/)
    })

    test('those that are selected arrive, and no other', async () => {
      const chosen = ['--tags', '*-alpine,1.*', '--not-tags', '/1\\.9.*/']
      const run = await kip(...chosen, '--semver', '^1', '--latest', '2', ...pair('some'))
      assert.equal(run.code, 0, run.stderr)
      await requireCopied('some', ['1.10.1', '1.10-alpine'])
    })

    test('a dry run tells of each and writes none', async () => {
      const run = await kip('--dry-run', '--output', 'json', '--latest', '2', ...pair('dry'))
      assert.equal(run.code, 0, run.stderr)
      const results = objects(run)
      const told = results.slice(0, -1).map(({ status, target }) => `${status} ${target}`)
      assert.deepEqual(
        told.sort(),
        ['1.10', '1.10.1'].map((tag) => `to-copy ${target.host}/dry:${tag}`),
      )
      assert.equal(results.at(-1)?.toCopy, 2)
      assert.deepEqual(await target.client.tags('dry'), [])
    })

    test('those made since then arrive, and who does not say is named and arrives too', async () => {
      const old = imageOf({ layers: [layerOf([])], created: daysAgo(40) })
      const young = imageOf({ layers: [layerOf([])], created: daysAgo(20) })
      const images = { old, young, index: indexOf([{ image: young }]), 'an-old': old }
      for (const [tag, image] of Object.entries({ ...images, unsaid: tinyImage(0) })) {
        await source.client.push(image, 'aged', tag)
        digests.set(tag, image.digest)
      }
      const [, to] = pair('aged')
      const args = ['--tags', '*', '--not-tags', 'an-*', '--created-since', '30d']
      const dry = await kip('--dry-run', ...args, `${source.host}/aged`, to)
      assert.match(dry.stdout, /3 images: 3 to copy/)
      assert.match(
        dry.stderr,
        /aged: 2 of 4 tags made since 20\S+Z; selected too, .* do not say when .*: unsaid$/m,
      )
      const run = await kip('--output', 'json', ...args, `${source.host}/aged`, to)
      assert.equal(run.code, 0, run.stderr)
      await requireCopied('aged', ['index', 'unsaid', 'young'])
      const told = objects(run).find(({ type }) => type === 'created-since')
      assert.deepEqual([told?.tags, told?.selected, told?.undated], [4, 3, ['unsaid']])
    })

    test('more of them than a page holds', async () => {
      const digest = digests.get('edge') ?? ''
      await source.client.push(tinyImage(6), 'paged', 'first')
      const tags = Array.from({ length: 1100 }, (_, i) => `t${String(i).padStart(4, '0')}`)
      // One by one: distribution 2.8 does not find a manifest while another tag of it is written.
      for (const tag of tags) await source.client.retag('paged', tag, digest)
      const [, to] = pair('paged')
      const run = await kip('--tags', 't*', '--not-tags', '/t0[0-8].*/', `${source.host}/paged`, to)
      assert.equal(run.code, 0, run.stderr)
      const wanted = tags.filter((tag) => /^t(1|09)/.test(tag))
      assert.deepEqual(await target.client.tags('paged'), wanted.sort())
    })

    test('a repository that is not there, or of which nothing is selected, fails by itself', async () => {
      const [from, to] = pair('list')
      const list = [
        `${from} ${to} tags=1.9`,
        `${source.host}/missing ${target.host}/missing tags=*`,
        `${from} ${target.host}/none tags=*-alpin`,
        `${from}:edge ${target.host}/list-edge:edge`,
      ]
      const args = ['--http', source.host, '--http', target.host, '--output', 'json']
      const run = await kipCopy([...args, '--from-file', '-'], { input: list.join('\n') })
      assert.equal(run.code, 1)
      const results = objects(run)
      const codeFor = (repository: string): unknown =>
        results.find(({ target: to }) => to === `${target.host}/${repository}`)?.code
      assert.equal(codeFor('missing'), 'COPY_NOT_FOUND')
      assert.equal(codeFor('none'), 'KIP_NOTHING_SELECTED')
      const { images, copied, failed } = results.at(-1) ?? {}
      assert.deepEqual([images, copied, failed], [4, 2, 2])
      await requireCopied('list', ['1.9'])
    })
  })
}

describe('kip copy of tags', { timeout: 120_000 }, () => {
  const image = sampleImage({ layers: [noise('tags', 3000)] })

  async function world(tags: readonly string[]) {
    const stack = new AsyncDisposableStack()
    const source = stack.use(await FakeRegistry.start())
    const target = stack.use(await FakeRegistry.start())
    await source.client.push(image, 'app', 'v1')
    for (const tag of tags) source.repository('app').tags.set(tag, image.digest)
    const kip = (list: readonly string[], ...args: readonly string[]): Promise<CopyRun> =>
      kipCopy(['--http', source.host, '--http', target.host, ...args, '--from-file', '-'], {
        input: list.join('\n'),
      })
    const from = `${source.host}/app`
    const to = `${target.host}/app`
    return { source, target, from, to, kip, [Symbol.asyncDispose]: () => stack.disposeAsync() }
  }

  test('what several lines select of a repository adds up, each tag once', async () => {
    await using it = await world(['v1', 'v2', '1-a', '2-a', '3-a'])
    const { from, to } = it
    const run = await it.kip([`${from} ${to} tags=v*`, `${from} ${to} tags=*-a,v2 latest=2`])
    assert.equal(run.code, 0, run.stderr)
    assert.match(run.stdout, /4 images: 4 copied/)
    assert.deepEqual(await it.target.client.tags('app'), ['2-a', '3-a', 'v1', 'v2'])
  })

  test("a target's tag that a line names itself is left to that line", async () => {
    await using it = await world(['v2'])
    const other = sampleImage({ layers: [noise('other', 3000)] })
    await it.source.client.push(other, 'other', 'x')
    const run = await it.kip([
      `${it.from} ${it.to} tags=v*`,
      `${it.source.host}/other:x ${it.to}:v2`,
    ])
    assert.match(run.stdout, /2 images: 2 copied/)
    assert.equal((await it.target.client.manifest('app', 'v2'))?.digest, other.digest)
  })

  test('fails where pages of the list are missing, and copies none of it', async () => {
    await using it = await world(['v2'])
    it.source.interceptor = ({ url = '' }, response) => {
      if (!url.includes('/tags/list')) return false
      if (url.includes('page=2')) fail(response, 404, 'NAME_UNKNOWN')
      else {
        response.setHeader('link', '</v2/app/tags/list?page=2>; rel="next"')
        response.end('{"tags":["v1","v2"]}')
      }
      return true
    }
    const run = await it.kip([`${it.from} ${it.to} tags=v*`])
    assert.equal(run.code, 1)
    assert.match(run.stderr, /^failed \S+\/app -> \S+\/app: .*404.* \[COPY_NOT_FOUND\]$/m)
    assert.deepEqual(await it.target.client.tags('app'), [])
  })

  const made = (days: number) =>
    sampleImage({ layers: [noise('made', 100)], created: daysAgo(days) })

  test('one that cannot be asked for its age fails by itself, and the others are copied', async () => {
    await using it = await world(['v2'])
    await it.source.client.push(made(1), 'app', 'v3')
    it.source.interceptor = ({ url = '' }, response) => {
      if (!url.endsWith('/manifests/v2')) return false
      fail(response, 403, 'DENIED')
      return true
    }
    const run = await it.kip([`${it.from} ${it.to} tags=v2,v3 created-since=2w`])
    assert.equal(run.code, 1)
    assert.match(run.stderr, /^failed \S+\/app:v2 -> \S+\/app:v2: .*403.* \[COPY_DENIED\]$/m)
    assert.match(run.stderr, /1 of 2 tags made since/)
    assert.deepEqual(await it.target.client.tags('app'), ['v3'])
  })

  test('where none was made since then, nothing is wrong, and it is said', async () => {
    await using it = await world([])
    await it.source.client.push(made(20), 'app', 'v1')
    const run = await it.kip([`${it.from} ${it.to} tags=* created-since=2w`])
    assert.equal(run.code, 0, run.stderr)
    assert.match(run.stderr, /^\S+\/app -> \S+\/app: 0 of 1 tags made since /m)
    assert.deepEqual(await it.target.client.tags('app'), [])
  })

  test('what the newest are is decided by their names, before anyone is asked for its age', async () => {
    await using it = await world([])
    for (const [tag, days] of Object.entries({ '1.0': 1, '2.0': 20, '3.0': 1 }))
      await it.source.client.push(made(days), 'app', tag)
    const run = await it.kip([`${it.from} ${it.to} latest=2 created-since=2w`])
    assert.equal(run.code, 0, run.stderr)
    assert.deepEqual(await it.target.client.tags('app'), ['3.0'])
    assert.ok(!it.source.requests.some(({ path, method }) => method === 'GET' && /1\.0/.test(path)))
  })

  test('Ctrl-C while they are asked for their age ends it at once, with every tag accounted for', async () => {
    await using it = await world(['v2'])
    const asked = Promise.withResolvers<void>()
    it.source.interceptor = ({ url = '' }) => {
      if (!url.includes('/manifests/')) return false
      asked.resolve()
      return true
    }
    const args = ['--http', it.source.host, '--http', it.target.host, '--from-file', '-']
    const input = `${it.from} ${it.to} tags=* created-since=2w\n`
    const run = await kipCopy(args, { input, interruptAt: asked.promise })
    assert.equal(run.code, 1)
    assert.match(run.stderr, /^stopped \S+\/app:v1 -> /m)
    assert.match(run.stdout, /2 images: 2 not done/)
    assert.doesNotMatch(run.stderr, /made since/)
  })

  test('Ctrl-C while they are listed ends it at once, with every line accounted for', async () => {
    await using it = await world([])
    const listed = Promise.withResolvers<void>()
    it.source.interceptor = ({ url = '' }) => {
      if (!url.includes('/tags/list')) return false
      listed.resolve()
      return true
    }
    const args = ['--http', it.source.host, '--http', it.target.host, '--from-file', '-']
    const input = `${it.from} ${it.to} tags=*\n${it.from}:v1 ${it.to}:v1\n`
    const run = await kipCopy(args, { input, interruptAt: listed.promise })
    assert.equal(run.code, 1)
    assert.match(run.stderr, /^stopped \S+\/app -> /m)
    assert.match(run.stderr, /^stopped \S+\/app:v1 -> /m)
    assert.match(run.stdout, /2 images: 2 not done/)
  })

  test('a retry of the list is told, and nothing else of it', async () => {
    await using it = await world([])
    let refused = false
    it.source.interceptor = (_, response) => {
      if (refused) return false
      refused = true
      fail(response, 503, 'UNAVAILABLE')
      return true
    }
    const run = await it.kip([`${it.from} ${it.to} latest=1`])
    assert.equal(run.code, 0, run.stderr)
    assert.match(run.stderr, new RegExp(`^${it.source.host}: .*; try 2 in `))
  })

  test('wrong use is told before anything is asked, with exit code 2', async () => {
    await using it = await world([])
    const run = await kipCopy(['--tags', '*', '--semver', 'newest', `${it.from}:v1`, it.to])
    assert.equal(run.code, 2)
    assert.match(run.stderr, /app:v1 names an image.*\n.*--semver "newest"/)
    assert.equal(it.source.requests.filter(({ path }) => path.includes('tags')).length, 0)
  })
})
