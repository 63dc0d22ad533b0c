import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { type CopyRun, kipCopy } from '../../support/copy-command.ts'
import { FakeRegistry, type FakeRegistryOptions, fail } from '../../support/fake-registry.ts'
import { type IndependentTools, independentTools } from '../../support/independent-tools.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

type Results = readonly Record<string, unknown>[]

function objects({ stdout }: CopyRun): Results {
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
}

/** `deleted app:old`, sorted, of what is told of extra tags. */
function extras(run: CopyRun): readonly string[] {
  return objects(run)
    .filter(({ type }) => type === 'extra-tag')
    .map(({ status, target }) => `${status} ${String(target).replace(/^[^/]+\//, '')}`)
    .sort()
}

const companions = [
  `sha256-${'a'.repeat(64)}`,
  `sha256-${'b'.repeat(64)}.sig`,
  `sha256-${'b'.repeat(64)}.att`,
  `sha256-${'b'.repeat(64)}.sbom`,
  `sha512-${'c'.repeat(64)}`,
]

/** Which of them delete tags, and what those answer that do not. */
const kinds = [
  ['distribution 3', { kind: 'distribution 3' }, undefined],
  ['go-containerregistry', { kind: 'go-containerregistry' }, undefined],
  ['distribution 2.8', { kind: 'distribution 2.8' }, /: 400 DIGEST_INVALID/],
  ['distribution 3 without deletion', { kind: 'distribution 3', deletes: false }, /: 405 UNSUPP/],
] as const

for (const [name, options, refusal] of kinds) {
  const skip = (await whyNoRegistry(options.kind)) ?? false
  describe(`extra tags of ${name}`, { skip, timeout: 120_000 }, () => {
    let registry: TestRegistry
    let independent: IndependentTools
    const image = tinyImage(1)
    const kip = (to: string, ...args: readonly string[]): Promise<CopyRun> =>
      kipCopy([
        ...['--http', registry.host, '--output', 'json', '--tags', 'v*', ...args],
        ...[`${registry.host}/app`, `${registry.host}/${to}`],
      ])
    /** Of one image, as the tag that stays is. */
    const fill = async (to: string): Promise<void> => {
      const tags = ['v1', 'old', 'gone', ...companions]
      await registry.client.push(image, to, 'v1')
      for (const tag of tags.slice(1)) await registry.client.retag(to, tag, image.digest)
    }

    before(async () => {
      registry = await startRegistry(options)
      independent = await independentTools(registry)
      await registry.client.push(image, 'app', 'v1')
      await registry.client.push(tinyImage(2), 'app', 'v2')
      await registry.client.push(tinyImage(3), 'app', 'old')
    })
    after(async () => {
      await independent?.[Symbol.asyncDispose]()
      await registry?.close()
    })

    test('are told, and left', async () => {
      await fill('told')
      const run = await kip('told', '--extra', 'report')
      assert.equal(run.code, 0, run.stderr)
      assert.deepEqual(extras(run), ['extra told:gone', 'extra told:old'])
      assert.deepEqual(objects(run).at(-1)?.extraTags, { found: 2, deleted: 0, failed: 0 })
      const tags = ['gone', 'old', 'v1', 'v2', ...companions]
      assert.deepEqual(await independent.tags('told'), tags.sort())
    })

    test('are told by a dry run that is to delete them, and left', async () => {
      await fill('dry')
      const run = await kip('dry', '--extra', 'delete', '--dry-run')
      assert.equal(run.code, 0, run.stderr)
      assert.deepEqual(extras(run), ['to-delete dry:gone', 'to-delete dry:old'])
      const tags = ['gone', 'old', 'v1', ...companions]
      assert.deepEqual(await independent.tags('dry'), tags.sort())
    })

    if (refusal === undefined) {
      test('are deleted, and neither what is selected nor what comes with images', async () => {
        await fill('deleted')
        const run = await kip('deleted', '--extra', 'delete')
        assert.equal(run.code, 0, run.stderr)
        assert.deepEqual(extras(run), ['deleted deleted:gone', 'deleted deleted:old'])
        assert.deepEqual(objects(run).at(-1)?.extraTags, { found: 2, deleted: 2, failed: 0 })
        assert.deepEqual(await independent.tags('deleted'), ['v1', 'v2', ...companions].sort())
        await independent.validate('deleted', 'v1', 'whole')
        await independent.validate('deleted', 'v2', 'whole')
        const again = await kip('deleted', '--extra', 'delete')
        assert.deepEqual([again.code, extras(again)], [0, []])
      })
    } else {
      test('cannot be deleted, which is said once, and they are left', async () => {
        await fill('refused')
        const run = await kip('refused', '--extra', 'delete')
        assert.equal(run.code, 1)
        assert.match(extras(run).join(), /^extra refused:\w+,failed refused:\w+$/)
        const failure = objects(run).find(({ status }) => status === 'failed')
        assert.equal(failure?.code, 'COPY_REFUSED')
        assert.match(String(failure?.message), refusal)
        assert.match(String(failure?.message), /the registry deletes no tags; .*retention/)
        assert.deepEqual(objects(run).at(-1)?.extraTags, { found: 2, deleted: 0, failed: 1 })
        const tags = ['gone', 'old', 'v1', 'v2', ...companions]
        assert.deepEqual(await independent.tags('refused'), tags.sort())
      })
    }
  })
}

describe('extra tags', { timeout: 120_000 }, () => {
  const image = sampleImage({ layers: [noise('extra', 300)] })

  async function world(options: FakeRegistryOptions = {}) {
    const stack = new AsyncDisposableStack()
    const source = stack.use(await FakeRegistry.start())
    const target = stack.use(await FakeRegistry.start(options))
    const fill = async (registry: FakeRegistry, tags: readonly string[]): Promise<void> => {
      await registry.client.push(image, 'app')
      for (const tag of tags) registry.repository('app').tags.set(tag, image.digest)
    }
    await fill(source, ['v1', 'v2', 'w1'])
    await fill(target, ['v1', 'old'])
    const kip = (list: readonly string[], ...args: readonly string[]): Promise<CopyRun> =>
      kipCopy(['--http', source.host, '--http', target.host, ...args, '--from-file', '-'], {
        input: list.join('\n'),
      })
    const deleting = (...list: readonly string[]): Promise<CopyRun> =>
      kip(list, '--extra', 'delete', '--output', 'json')
    const from = `${source.host}/app`
    const to = `${target.host}/app`
    const tags = (): Promise<readonly string[]> => target.client.tags('app')
    const own = { source, target, from, to, kip, deleting, tags }
    return { ...own, [Symbol.asyncDispose]: () => stack.disposeAsync() }
  }

  /** Nothing was deleted, and it is said why. */
  const requireSkipped = (run: CopyRun, message: RegExp): void => {
    const told = objects(run).filter(({ type }) => type === 'extra-tag')
    assert.deepEqual(
      told.map(({ status }) => status),
      ['skipped'],
      run.stdout,
    )
    assert.match(String(told[0]?.message), message)
  }

  test('are what no line of a list wants, in whatever way', async () => {
    await using it = await world()
    const { from, to } = it
    const run = await it.deleting(
      `${from} ${to} tags=v1`,
      `${from} ${to} tags=w*`,
      `${from}:v2 ${to}:x`,
    )
    assert.equal(run.code, 0, run.stderr)
    assert.deepEqual(extras(run), ['deleted app:old'])
    assert.deepEqual(await it.tags(), ['v1', 'w1', 'x'])
  })

  test('are of the repositories of which tags are selected alone', async () => {
    await using it = await world()
    it.target.repository('other').tags.set('old', image.digest)
    const { from, to, target } = it
    const list = [`${from} ${to} tags=v*`, `${from}:v1 ${target.host}/other:v1`]
    assert.deepEqual(extras(await it.deleting(...list)), ['deleted app:old'])
    assert.deepEqual(await target.client.tags('other'), ['old', 'v1'])
  })

  test('are deleted when all else has arrived', async () => {
    await using it = await world()
    it.target.takeLog()
    await it.deleting(`${it.from} ${it.to} tags=*`)
    const writes = it.target.takeLog().filter((line) => /^(?:PUT|DELETE) .*manifests/.test(line))
    assert.deepEqual(
      writes.slice(0, -1).map((line) => line.slice(0, 3)),
      ['PUT', 'PUT'],
    )
    assert.equal(writes.at(-1), 'DELETE /v2/app/manifests/old 202')
  })

  test('stay where an image did not arrive, and are told all the same', async () => {
    await using it = await world()
    it.source.interceptor = ({ url = '' }, response) => {
      if (!url.endsWith('/manifests/v2')) return false
      fail(response, 403, 'DENIED')
      return true
    }
    const line = `${it.from} ${it.to} tags=v*`
    const run = await it.deleting(line)
    assert.equal(run.code, 1)
    requireSkipped(run, /not every image of it arrived/)
    const dry = await it.kip([line], '--extra', 'delete', '--output', 'json', '--dry-run')
    requireSkipped(dry, /not every image of it arrived/)
    const report = await it.kip([line], '--extra', 'report', '--output', 'json')
    assert.deepEqual(extras(report), ['extra app:old'])
    assert.deepEqual(await it.tags(), ['old', 'v1'])
  })

  const unknown = {
    'a selection gave nothing': 'tags=none*',
    'a selection has nothing new enough': 'tags=* created-since=2w',
  }
  for (const [why, words] of Object.entries(unknown))
    test(`stay where ${why}, though another line selects some`, async () => {
      await using it = await world()
      const old = sampleImage({ layers: [noise('x', 10)], created: '2020-01-01T00:00:00Z' })
      await it.source.client.push(old, 'aged', 'v9')
      const aged = `${it.source.host}/aged`
      for (const mode of ['report', 'delete']) {
        const list = [`${it.from}:v1 ${it.to}:v1`, `${aged} ${it.to} ${words}`]
        const run = await it.kip(list, '--extra', mode, '--output', 'json')
        requireSkipped(run, /not known which tags are wanted/)
      }
      assert.deepEqual(await it.tags(), ['old', 'v1'])
    })

  test('stay where the tags of the source could not be listed', async () => {
    await using it = await world()
    it.source.interceptor = ({ url = '' }, response) => {
      if (!url.includes('/tags/list')) return false
      fail(response, 403, 'DENIED')
      return true
    }
    const run = await it.deleting(`${it.from} ${it.to} tags=*`, `${it.from}:v1 ${it.to}:v1`)
    assert.equal(run.code, 1)
    requireSkipped(run, /not known which tags are wanted/)
    assert.deepEqual(await it.tags(), ['old', 'v1'])
  })

  test('are none that are to be copied on from there, though another line brings their like', async () => {
    await using it = await world()
    const next = `${it.target.host}/next`
    const run = await it.deleting(
      `${it.from} ${it.to} tags=v*`,
      `${it.to} ${next} tags=*`,
      `${it.from}:v1 ${next}:old`,
    )
    assert.equal(run.code, 0, run.stderr)
    assert.deepEqual(extras(run), [])
    assert.deepEqual(await it.tags(), ['old', 'v1', 'v2'])
  })

  const notSelected = {
    'could not be listed': 'tags=*',
    'are none of those that are asked for': 'tags=none*',
    'are none of them new enough': 'tags=* created-since=2w',
  }
  for (const [why, words] of Object.entries(notSelected))
    test(`stay where the tags to be copied on from there ${why}`, async () => {
      await using it = await world()
      const old = sampleImage({ layers: [noise('x', 10)], created: '2020-01-01T00:00:00Z' })
      await it.target.client.push(old, 'app', 'old')
      await it.source.client.push(old, 'app', 'v1')
      it.target.repository('app').tags.set('v1', old.digest)
      let lists = 0
      it.target.interceptor = ({ url = '' }, response) => {
        if (words !== 'tags=*' || !url.includes('/tags/list')) return false
        lists += 1
        if (lists > 1) return false
        fail(response, 403, 'DENIED')
        return true
      }
      const on = `${it.to} ${it.target.host}/next ${words}`
      const run = await it.deleting(`${it.from} ${it.to} tags=v1`, on)
      const told = objects(run).filter(({ type }) => type === 'extra-tag')
      assert.match(
        String(told.find(({ target }) => target === it.to)?.message),
        /not known which tags are wanted/,
      )
      assert.ok((await it.tags()).includes('old'))
    })

  test('stay when the run is stopped before', async () => {
    await using it = await world()
    const asked = Promise.withResolvers<void>()
    it.source.interceptor = ({ url = '' }) => {
      if (!url.endsWith('/manifests/v2')) return false
      asked.resolve()
      return true
    }
    const args = ['--http', it.source.host, '--http', it.target.host, '--extra', 'delete']
    const run = await kipCopy([...args, '--tags', '*', it.from, it.to], {
      interruptAt: asked.promise,
    })
    assert.equal(run.code, 1)
    assert.match(run.stderr, /^skipped extra tags of \S+\/app: not every image of it arrived$/m)
    assert.ok((await it.tags()).includes('old'))
  })

  test('one that is immutable fails by itself; of who may not delete, no other is tried', async () => {
    for (const [status, told] of [
      [412, ['deleted app:old', 'deleted app:old2', 'failed app:old1']],
      [403, ['deleted app:old', 'extra app:old2', 'failed app:old1']],
    ] as const) {
      await using it = await world()
      for (const tag of ['old1', 'old2']) it.target.repository('app').tags.set(tag, image.digest)
      it.target.interceptor = ({ method, url = '' }, response) => {
        if (method !== 'DELETE' || !url.endsWith('old1')) return false
        fail(response, status, 'NO')
        return true
      }
      const run = await it.deleting(`${it.from} ${it.to} tags=*`)
      assert.equal(run.code, 1)
      assert.deepEqual(extras(run), told)
    }
  })

  test('that cannot be listed are told, and the run is no success', async () => {
    await using it = await world()
    it.target.interceptor = ({ url = '' }, response) => {
      if (!url.includes('/tags/list')) return false
      fail(response, 403, 'DENIED')
      return true
    }
    const run = await it.kip([`${it.from} ${it.to} tags=v1`], '--extra', 'report')
    assert.equal(run.code, 1)
    assert.match(run.stderr, /^failed with extra tags of \S+\/app: .*403.*\[COPY_DENIED\]$/m)
    assert.match(run.stdout, /1 image: 1 there; .*; 0 extra tags, 1 failed$/m)
  })

  test('there are none where a dry run finds no repository', async () => {
    await using it = await world()
    const to = `${it.target.host}/empty`
    const run = await it.kip([`${it.from} ${to} tags=v*`], '--extra', 'delete', '--dry-run')
    assert.equal(run.code, 0, run.stderr)
    assert.match(run.stdout, /2 images: 2 to copy; .*; 0 extra tags$/m)
  })

  test('are told as text on standard output', async () => {
    await using it = await world()
    const line = `${it.from} ${it.to} tags=v*`
    const dry = await it.kip([line], '--extra', 'delete', '--dry-run')
    assert.match(dry.stdout, /^would delete \S+\/app:old$/m)
    const report = await it.kip([line], '--extra', 'report')
    assert.match(report.stdout, /^extra \S+\/app:old\n.*; 1 extra tag$/m)
    const run = await it.kip([line], '--extra', 'delete')
    assert.match(run.stdout, /^deleted \S+\/app:old\n.*; 1 extra tag, 1 deleted$/m)
  })

  test('are no question where no tags are selected, or a repository is its own source', async () => {
    await using it = await world()
    const { from, to } = it
    const images = await it.kip([`${from}:v1 ${to}:v1`], '--extra', 'delete')
    assert.equal(images.code, 2)
    assert.match(images.stderr, /--extra: say which tags are wanted/)
    const itself = await it.kip([`${to} ${to} tags=v*`], '--extra', 'delete')
    assert.equal(itself.code, 2)
    assert.match(itself.stderr, /--extra: \S+\/app is its own source/)
    assert.deepEqual(await it.tags(), ['old', 'v1'])
  })
})
