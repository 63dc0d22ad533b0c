import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { formatReference, type ImageReference, parseReference } from '@containers/image-copy'
import fc from 'fast-check'
import { createMapping } from '../../../src/images/mapping.ts'

const hex = (character: string): string => character.repeat(64)

const component = fc.stringMatching(/^[a-z0-9]{1,5}([._]|__|-{1,2})?[a-z0-9]{1,5}$/)
const repository = fc
  .array(component, { minLength: 1, maxLength: 3 })
  .map((parts) => parts.join('/'))
const host = fc.oneof(
  fc.constantFrom(
    'localhost',
    'localhost:5000',
    'Origin.test',
    '[::1]:5000',
    'x--y.test:1',
    'x.test',
  ),
  fc.stringMatching(/^[a-z0-9]{1,4}(-{1,2}[a-z0-9]{1,3})?\.[a-z]{2,4}(:[1-9][0-9]{1,3})?$/),
)
const tag = fc.oneof(
  fc.constantFrom('latest', 'kip-1', 'kip-kip-1', `kip-sha256-${hex('a')}`, `sha256-${hex('a')}`),
  fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}$/),
)
const digest = fc.oneof(
  fc.stringMatching(/^sha256:[a-f0-9]{64}$/),
  fc.stringMatching(/^sha512:[a-f0-9]{128}$/),
)
const name = fc.oneof(
  fc.record({ registry: host, repository }),
  repository.map((path) => ({ registry: 'docker.io', repository: `library/${path}` })),
)
const source: fc.Arbitrary<ImageReference> = fc
  .tuple(
    name,
    fc.oneof(
      tag.map((value) => ({ tag: value })),
      digest.map((value) => ({ digest: value })),
    ),
  )
  .map(([where, what]) => ({ ...where, ...what }))
const backup = fc.constantFrom(
  'backup.test:5001',
  'backup.test:5001/prefix',
  'backup.test/a/b',
  'docker.io/me',
)

describe('path mapping', () => {
  const mapping = createMapping({ registry: 'backup.test:5001/prefix', mapping: 'path' })

  it('keeps host and repository below the backup', () => {
    const cases: [ImageReference, string, string][] = [
      [
        { registry: 'docker.io', repository: 'library/nginx', tag: '1' },
        'prefix/docker.io/library/nginx',
        '1',
      ],
      [
        { registry: 'origin.test:5000', repository: 'a', tag: 'b' },
        'prefix/origin.test_5000/a',
        'b',
      ],
      [
        { registry: 'quay.io', repository: 'a/b', tag: '1', digest: `sha256:${hex('c')}` },
        'prefix/quay.io/a/b',
        `kip-sha256-${hex('c')}`,
      ],
      [{ registry: 'quay.io', repository: 'a' }, 'prefix/quay.io/a', 'latest'],
    ]
    for (const [from, path, to] of cases) {
      const copy = mapping.backupOf(from)
      assert.deepEqual(copy, { registry: 'backup.test:5001', repository: path, tag: to })
    }
  })

  it('is invertible', () => {
    fc.assert(
      fc.property(backup, source, (registry, from) => {
        const { backupOf, sourceOf, isBackup } = createMapping({ registry, mapping: 'path' })
        const copy = backupOf(from)
        assert.ok(isBackup(copy))
        assert.deepEqual(sourceOf(copy), from)
      }),
    )
  })

  it('makes only paths and tags that a registry takes', () => {
    const path = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/
    fc.assert(
      fc.property(source, (from) => {
        const copy = mapping.backupOf(from)
        assert.match(copy.repository, path)
        assert.match(copy.tag ?? '', /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/)
        assert.equal(copy.digest, undefined)
      }),
    )
  })

  it('maps the reference of a rewritten pod back to the source it stands for', () => {
    const from = { registry: 'docker.io', repository: 'library/nginx', tag: '1' }
    const rewritten = { ...mapping.backupOf(from), digest: `sha256:${hex('d')}` }
    assert.deepEqual(mapping.sourceOf(rewritten), from)
    const pin = { registry: 'quay.io', repository: 'a', digest: `sha256:${hex('d')}` }
    assert.deepEqual(mapping.sourceOf({ ...mapping.backupOf(pin), digest: pin.digest }), pin)
    const { tag: _, ...byDigest } = rewritten
    assert.deepEqual(mapping.sourceOf(byDigest), {
      registry: 'docker.io',
      repository: 'library/nginx',
      digest: `sha256:${hex('d')}`,
    })
  })

  it('tells apart a pin and a tag that looks like one', () => {
    const where = { registry: 'other.test', repository: 'a' }
    const pin = mapping.backupOf({ ...where, digest: `sha256:${hex('a')}` })
    const tagged = mapping.backupOf({ ...where, tag: `kip-sha256-${hex('a')}` })
    assert.notEqual(pin.tag, tagged.tag)
  })

  it('knows what is no copy', () => {
    const at = (repository: string, tag = '1', registry = 'backup.test:5001'): ImageReference => ({
      registry,
      repository,
      tag,
    })
    const foreign = [at('docker.io/library/nginx'), at('prefix/docker.io/a/b', '1', 'other.test')]
    for (const reference of foreign) {
      assert.equal(mapping.isBackup(reference), false)
      assert.equal(mapping.sourceOf(reference), undefined)
    }
    const strangers = [
      at('prefix/nginx'),
      at('prefix/team/app'),
      at('prefix/docker.io/nginx'),
      at('prefix/index.docker.io/library/nginx'),
      at('prefix/origin.test_x/a'),
      at('prefix/x__zz/a'),
      at(`prefix/x__${Buffer.from('plain.test').toString('hex')}/a`),
      at('prefix/quay.io/a', 'kip-sha256-00'),
      at('prefix/quay.io/a', `kip-md5-${hex('0')}`),
    ]
    for (const reference of strangers) {
      assert.equal(mapping.isBackup(reference), true)
      assert.equal(mapping.sourceOf(reference), undefined)
    }
  })

  it('makes references that read back as they are', () => {
    fc.assert(
      fc.property(backup, source, (registry, from) => {
        assert.deepEqual(parseReference(formatReference(from)), from)
        const copy = createMapping({ registry, mapping: 'path' }).backupOf(from)
        assert.deepEqual(parseReference(formatReference(copy)), copy)
      }),
    )
  })

  it('gives a name that is too long a place of its own', () => {
    const long = { registry: 'quay.io', repository: `${'a'.repeat(230)}/b`, tag: '1' }
    const copy = mapping.backupOf(long)
    assert.match(copy.repository, /^prefix\/kip-long\/[0-9a-f]{64}$/)
    assert.deepEqual(parseReference(formatReference(copy)), copy)
    assert.ok(mapping.isBackup(copy))
    assert.equal(mapping.sourceOf(copy), undefined)
    const other = { ...long, registry: 'ghcr.io' }
    assert.notEqual(mapping.backupOf(other).repository, copy.repository)
  })

  it('refuses a digest that it cannot spell as a tag', () => {
    const odd = { registry: 'quay.io', repository: 'a', digest: `blake3:${hex('0')}` }
    assert.throws(() => mapping.backupOf(odd), { code: 'KIP_MAPPING_DIGEST' })
  })
})

describe('flat mapping', () => {
  const mapping = createMapping({ registry: 'backup.test/ns/repo', mapping: 'flat' })
  const flat = (registry: string, repository: string, tag: string): string | undefined =>
    mapping.backupOf({ registry, repository, tag }).tag

  it("spells imgCloneCtrl's tags", () => {
    assert.deepEqual(mapping.backupOf({ registry: 'quay.io', repository: 'a/b', tag: 't' }), {
      registry: 'backup.test',
      repository: 'ns/repo',
      tag: 'a_b_t',
    })
    assert.equal(flat('docker.io', 'library/nginx', 'latest'), 'nginx_latest')
    assert.equal(flat('docker.io', 'bitnami/redis', '7'), 'bitnami_redis_7')
  })

  it('shares a copy between sources that differ only in host or separators', () => {
    assert.equal(flat('quay.io', 'foo/bar', '1'), flat('docker.io', 'library/foo_bar', '1'))
  })

  it('gives a pin and an overlong name a tag of their own', () => {
    const digest = `sha256:${hex('e')}`
    const pin = mapping.backupOf({ registry: 'quay.io', repository: 'a', tag: '1', digest })
    assert.equal(pin.tag, `kip-sha256-${hex('e')}`)
    const long = flat('quay.io', 'a'.repeat(120), 'a-long-tag')
    assert.match(long ?? '', /^kip-ref-[0-9a-f]{64}$/)
    assert.notEqual(long, flat('ghcr.io', 'a'.repeat(120), 'a-long-tag'))
  })

  it('knows its copies, though not their sources', () => {
    const copy = { registry: 'backup.test', repository: 'ns/repo', tag: 'a_b_t' }
    assert.equal(mapping.isBackup(copy), true)
    assert.equal(mapping.sourceOf(copy), undefined)
    assert.equal(mapping.isBackup({ ...copy, repository: 'ns/repo/more' }), false)
  })
})

describe('no backup', () => {
  it('has no copies and refuses to name one', () => {
    const mapping = createMapping({ registry: '', mapping: 'path' })
    const reference = { registry: 'docker.io', repository: 'library/nginx', tag: '1' }
    assert.equal(mapping.isBackup(reference), false)
    assert.equal(mapping.sourceOf(reference), undefined)
    assert.throws(() => mapping.backupOf(reference), { code: 'KIP_MAPPING_NO_BACKUP' })
  })
})
