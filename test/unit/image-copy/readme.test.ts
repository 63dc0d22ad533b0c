import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { defaultRetry, defaultTimeouts } from '../../../src/image-copy/src/index.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const readme = fileURLToPath(new URL('../../../src/image-copy/README.md', import.meta.url))
const index = new URL('../../../src/image-copy/src/index.ts', import.meta.url).href
const text = await readFile(readme, 'utf8')
const examples = [...text.matchAll(/## ([^\n]+)\n(?:(?!\n## )[\s\S])*?```ts\n([\s\S]*?)```/g)].map(
  ([, title = '', code = '']) => ({ title, code }),
)

/** What each example must print. */
const expected: Readonly<Record<string, RegExp>> = {
  'Copy an image': /^sha256:[0-9a-f]{64}: \d+ bytes in 2 blobs; 0 there already, 0 mounted\n$/,
  'Many images, with progress':
    /backup\/hello sha256:[0-9a-f]{64}\nbackup\/hello sha256:[0-9a-f]{64}\nbackup\/missing RegistryError: .*404/,
  'Tags of a repository': /^v2 sha256:[0-9a-f]{64}\nv1 sha256:[0-9a-f]{64}\n$/,
  Credentials: /digest: 'sha256:[0-9a-f]{64}'/,
  'Look before you copy':
    /^linux\/amd64: 100\d{3} bytes of blobs; 100\d{3} bytes to move with manifests\nCOPY_NOT_FOUND .*tag v1 is missing false\n$/,
}

describe('the tables of the README', () => {
  test('have the defaults that count', () => {
    // Two of one kind may share a line.
    const cellOf = new Map<string, string>()
    for (const [, names = '', values = ''] of text.matchAll(/^\| … ([^|]+) \| ([^|]+) \|/gm)) {
      const all = values.split(/, /)
      for (const [i, [, name = '']] of [...names.matchAll(/`(\w+)`/g)].entries())
        cellOf.set(name, all[i] ?? '')
    }
    for (const [name, value] of Object.entries({ ...defaultTimeouts, ...defaultRetry }))
      assert.equal(cellOf.get(name), value.toLocaleString('en'), name)
  })
})

describe('the examples of the README', () => {
  test('are those that are run here', () => {
    assert.deepEqual(
      examples.map(({ title }) => title),
      Object.keys(expected),
    )
  })
  for (const { title, code } of examples) {
    test(`"${title}" does what it says`, async () => {
      await using source = await FakeRegistry.start({
        auth: { kind: 'basic', users: { kip: 'secret' } },
      })
      await using open = await FakeRegistry.start()
      await using target = await FakeRegistry.start()
      const from = title === 'Credentials' ? source : open
      for (const tag of ['v1', 'v2']) {
        await from.client.push(sampleImage({ layers: [noise(tag, 100_000)] }), 'library/hello', tag)
      }
      const folder = await mkdtemp(join(tmpdir(), 'readme-'))
      try {
        const file = join(folder, 'example.ts')
        const ported = code
          .replaceAll('localhost:5000', `localhost:${from.port}`)
          .replaceAll('localhost:5001', `localhost:${target.port}`)
          .replaceAll("'@containers/image-copy'", JSON.stringify(index))
        await writeFile(file, ported)
        const { stdout } = await promisify(execFile)(process.execPath, [file], { timeout: 60_000 })
        assert.match(stdout, expected[title] ?? /never/)
      } finally {
        await rm(folder, { recursive: true, force: true })
      }
    })
  }
})

test('every error code stands in the README, and no other', async () => {
  const source = await readFile(
    fileURLToPath(new URL('../../../src/image-copy/src/errors.ts', import.meta.url)),
    'utf8',
  )
  const codes = (of: string): string[] => [...new Set(of.match(/COPY_[A-Z_]+/g))].sort()
  const own = codes(source).filter(
    (code) => code !== 'COPY_REFERENCE_INVALID' && code !== 'COPY_CREDENTIALS_INVALID',
  )
  assert.deepEqual(codes(text), own)
})
