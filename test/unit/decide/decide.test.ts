import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import { advice } from '../../../src/decide/advice.ts'
import { type ReasonCode, reasons } from '../../../src/decide/codes.ts'
import { type DecideInput, type Decision, decide } from '../../../src/decide/decide.ts'
import type { DecisionSettings } from '../../../src/decide/subject.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import type { ImageState, Mirror, Source } from '../../../src/state/cached-image.ts'

const registry = 'backup.test:5001/m'
const mapping = createMapping({ registry, mapping: 'path' })
const nowhere = createMapping({ registry: '', mapping: 'path' })
const now = Date.parse('2026-03-01T12:00:00Z')
const digest = `sha256:${'a'.repeat(64)}`
const moved = `sha256:${'b'.repeat(64)}`
const nginx = 'docker.io/library/nginx:1.27'
const copyOfNginx = `${registry}/docker.io/library/nginx:1.27`
const available: Source = { state: 'Available', digest, checkedAt: '2026-03-01T11:59:00Z' }
const verified: Mirror = { registry, state: 'Verified', reference: copyOfNginx, digest }
const settings: DecisionSettings = {
  mirror: { preCacheWaitSeconds: 60, pullSecret: '' },
  admission: { enabled: true, rewrite: 'available' },
  puller: { enabled: true, mode: 'own', cacheOriginals: true, imagePullSecrets: [] },
}

function imageOf(change: Partial<ImageState> = {}, seenSecondsAgo = 10): ImageState {
  return {
    reference: nginx,
    name: 'nginx',
    requested: false,
    resourceVersion: '1',
    usage: {
      wanted: ['InUse'],
      pods: 1,
      workloads: 1,
      namespaces: 1,
      owners: [],
      firstSeen: new Date(now - seenSecondsAgo * 1000).toISOString(),
    },
    mirrors: [],
    conditions: [],
    source: available,
    ...change,
  }
}

function ask(image: ImageState | undefined, change: Partial<DecideInput> = {}): Decision {
  return decide({ reference: nginx, image, mapping, settings, now, ...change })
}

const unresolved = (change: Partial<ImageState> = {}, secondsAgo = 10): ImageState => {
  const { source: _, ...image } = imageOf(change, secondsAgo)
  return image
}
/** What a look found that never got the image. */
const unseen = (state: Source['state']): Partial<ImageState> => ({
  source: { state, checkedAt: '2026-03-01T11:59:00Z' },
})
const withSecrets: DecisionSettings = {
  ...settings,
  puller: { ...settings.puller, imagePullSecrets: ['corp'] },
}
/** Nodes show the backup what pods show it. */
const withPullSecret: DecisionSettings = {
  ...settings,
  mirror: { preCacheWaitSeconds: 60, pullSecret: 'kip-backup' },
}
const sourceIn = (state: Source['state']): Source => ({ ...available, state })
const wantedAs = (wanted: NonNullable<ImageState['usage']>['wanted']): ImageState => {
  const image = imageOf({ source: sourceIn('NeedsCredentials') })
  return { ...image, ...(image.usage && { usage: { ...image.usage, wanted } }) }
}

describe('decide: mirror', () => {
  const cases: [string, ImageState | undefined, Partial<DecideInput>, ReasonCode][] = [
    ['an image that anybody may pull', imageOf(), {}, 'Mirror'],
    ['one that is verified already', imageOf({ mirrors: [verified] }), {}, 'Mirror'],
    ['without a backup', imageOf(), { mapping: nowhere }, 'NoBackup'],
    ['an unknown image', undefined, {}, 'UnknownImage'],
    ['a state of another reference', imageOf({ reference: 'quay.io/x/y:1' }), {}, 'UnknownImage'],
    ['nonsense', imageOf(), { reference: 'UPPER CASE' }, 'InvalidReference'],
    ['not looked up yet', unresolved(), {}, 'NotResolved'],
    ['private', imageOf({ source: sourceIn('NeedsCredentials') }), {}, 'NeedsCredentials'],
    ['gone', imageOf({ source: sourceIn('Missing') }), {}, 'SourceMissing'],
    ['unreachable', imageOf({ source: sourceIn('Unreachable') }), {}, 'SourceUnreachable'],
    ['broken', imageOf({ source: sourceIn('Invalid') }), {}, 'SourceInvalid'],
    ['unwanted', wantedAs([]), {}, 'NotWanted'],
    ['a copy', imageOf({ reference: copyOfNginx }), { reference: copyOfNginx }, 'IsBackup'],
    [
      'a name too long for the backup',
      imageOf(),
      { mapping: createMapping({ registry: `b.test/${'x'.repeat(240)}`, mapping: 'path' }) },
      'NotMappable',
    ],
    [
      'flat without a repository',
      imageOf(),
      { mapping: createMapping({ registry: 'b.test', mapping: 'flat' }) },
      'NotMappable',
    ],
    ['a short name of the same', imageOf(), { reference: 'nginx:1.27' }, 'Mirror'],
  ]
  for (const [what, image, change, code] of cases) {
    it(`${what}: ${code}`, () => {
      const { mirror } = ask(image, change)
      assert.equal(mirror.code, code)
      assert.equal(mirror.act, code === 'Mirror')
    })
  }
})

describe('decide: rewrite', () => {
  const done = imageOf({ mirrors: [verified] })
  const never: DecisionSettings = { ...settings, admission: { enabled: true, rewrite: 'never' } }
  const off: DecisionSettings = { ...settings, admission: { enabled: false, rewrite: 'available' } }
  const counts = { desired: 3, cached: 0, pulling: 1, failed: 2, failures: [] }
  const unpulled = { ...done, nodes: { ...counts, reason: 'CopyNotPulled' } }
  const puller = (change: Partial<DecisionSettings['puller']>): Partial<DecideInput> => ({
    settings: { ...settings, puller: { ...settings.puller, ...change } },
  })
  const cases: [string, ImageState | undefined, Partial<DecideInput>, ReasonCode][] = [
    ['a copy that no node could pull', unpulled, {}, 'CopyNotPulled'],
    [
      'one that pods bring a secret for, whatever nodes had',
      unpulled,
      { settings: withPullSecret },
      'Rewritten',
    ],
    [
      'one that was tried before the puller was off',
      unpulled,
      puller({ enabled: false }),
      'Rewritten',
    ],
    ['one that was tried before KIP pulled', unpulled, puller({ mode: 'external' }), 'Rewritten'],
    ['a copy that nodes pull, or their source', { ...done, nodes: counts }, {}, 'Rewritten'],
    ['a verified copy', done, {}, 'Rewritten'],
    ['an outage of the source', { ...done, source: sourceIn('Unreachable') }, {}, 'Rewritten'],
    ['a source that lost it', { ...done, source: sourceIn('Missing') }, {}, 'Rewritten'],
    ['pulled always', done, { placement: { pullPolicy: 'Always' } }, 'Rewritten'],
    ['pulled never', done, { placement: { pullPolicy: 'Never' } }, 'PullPolicyNever'],
    ['an excluded namespace', done, { placement: { excluded: true } }, 'NamespaceExcluded'],
    ['an opted-out pod', done, { placement: { optedOut: true } }, 'OptedOut'],
    ['a static pod', done, { placement: { staticPod: true } }, 'StaticPod'],
    ["kip's own pod", done, { placement: { own: true } }, 'OwnPod'],
    ['told never to', done, { settings: never }, 'RewriteNever'],
    ['admission off', done, { settings: off }, 'RewriteNever'],
    ['nothing copied', imageOf(), {}, 'NotMirrored'],
    [
      'a copy under way',
      imageOf({ mirrors: [{ registry, state: 'Copying', reference: copyOfNginx }] }),
      {},
      'NotMirrored',
    ],
    ['a tag that moved', { ...done, source: { ...available, digest: moved } }, {}, 'CopyOutdated'],
    [
      'a tag that moved before the source went away',
      { ...done, source: { ...available, digest: moved, state: 'Unreachable' } },
      {},
      'Rewritten',
    ],
    [
      'a source turned private',
      { ...done, source: sourceIn('NeedsCredentials') },
      {},
      'NeedsCredentials',
    ],
    [
      'a copy of another layout',
      imageOf({ mirrors: [{ ...verified, reference: 'backup.test:5001/evil/nginx:1.27' }] }),
      {},
      'NotMirrored',
    ],
    [
      'a copy in an earlier backup',
      imageOf({ mirrors: [{ ...verified, registry: 'old.test' }] }),
      {},
      'NotMirrored',
    ],
    [
      'a digest that is none',
      imageOf({ mirrors: [{ ...verified, digest: 'sha256:oops' }] }),
      {},
      'NotMirrored',
    ],
    ['an unknown image', undefined, {}, 'UnknownImage'],
    ['nonsense', done, { reference: ':' }, 'InvalidReference'],
    ['a copy', done, { reference: `${copyOfNginx}@${digest}` }, 'IsBackup'],
  ]
  for (const [what, image, change, code] of cases) {
    it(`${what}: ${code}`, () => {
      const { rewrite } = ask(image, change)
      assert.equal(rewrite.code, code)
      assert.equal(rewrite.act, code === 'Rewritten')
      assert.equal(rewrite.reference, rewrite.act ? `${copyOfNginx}@${digest}` : undefined)
    })
  }

  it('keeps the digest of a pin', () => {
    const reference = `${nginx}@${digest}`
    const tag = `kip-sha256-${'a'.repeat(64)}`
    const place = `${registry}/docker.io/library/nginx:${tag}`
    const image = imageOf({ reference, mirrors: [{ ...verified, reference: place }] })
    assert.equal(ask(image, { reference }).rewrite.reference, `${place}@${digest}`)
    const other = { ...image, mirrors: [{ ...verified, reference: place, digest: moved }] }
    assert.equal(ask(other, { reference }).rewrite.code, 'DigestDiffers')
  })
})

describe('decide: cache', () => {
  const original = { reference: nginx, bestEffort: true }
  const source = { reference: nginx, bestEffort: false }
  const copy = { reference: `${copyOfNginx}@${digest}`, bestEffort: false }
  const failed: Mirror = { registry, state: 'Failed', reference: copyOfNginx }
  const never: DecisionSettings = { ...settings, admission: { enabled: true, rewrite: 'never' } }
  const done = imageOf({ mirrors: [verified] })
  const cases: [string, ImageState | undefined, Partial<DecideInput>, ReasonCode, unknown[]][] = [
    ['a verified copy and the original', done, {}, 'CacheBackup', [copy, original]],
    [
      'the copy alone when told so',
      done,
      { settings: { ...settings, puller: { ...settings.puller, cacheOriginals: false } } },
      'CacheBackup',
      [copy],
    ],
    ['nothing while the copy is awaited', imageOf(), {}, 'WaitingForCopy', []],
    ['the source when that took too long', imageOf({}, 60), {}, 'CacheSource', [source]],
    [
      'the source when the copy failed',
      imageOf({ mirrors: [failed] }),
      {},
      'CacheSource',
      [source],
    ],
    ['the source at once without backup', imageOf(), { mapping: nowhere }, 'CacheSource', [source]],
    ['the source when pods are not rewritten', done, { settings: never }, 'CacheSource', [source]],
    [
      'a source that cannot be reached',
      imageOf({ source: sourceIn('Unreachable') }),
      {},
      'CacheSource',
      [source],
    ],
    ['one that has lost it', imageOf({ source: sourceIn('Missing') }), {}, 'CacheSource', [source]],
    ['nothing before the first look', unresolved(), {}, 'NotResolved', []],
    [
      'nothing before the first look, without backup',
      unresolved(),
      { mapping: nowhere },
      'NotResolved',
      [],
    ],
    ['the source when nobody looks', unresolved({}, 61), {}, 'CacheSource', [source]],
    [
      'a static image before the first look, without backup',
      { ...unresolved(), usage: { ...imageOf().usage, wanted: ['Static'] } as ImageState['usage'] },
      { mapping: nowhere },
      'CacheSource',
      [source],
    ] as never,
    [
      'nothing private',
      imageOf({ source: sourceIn('NeedsCredentials') }),
      {},
      'NeedsCredentials',
      [],
    ],
    [
      'nothing private that is copied',
      { ...done, source: sourceIn('NeedsCredentials') },
      {},
      'NeedsCredentials',
      [],
    ],
    ['a private one from IMAGES', wantedAs(['InUse', 'Static']), {}, 'CacheSource', [source]],
    ['a private one by request', wantedAs(['Requested']), {}, 'CacheSource', [source]],
    ['nothing unwanted', wantedAs([]), {}, 'NotWanted', []],
    ['nothing unknown', undefined, {}, 'UnknownImage', []],
    ['nothing of nonsense', undefined, { reference: '' }, 'InvalidReference', []],
    [
      'the copy of before while the moved tag is copied',
      { ...done, source: { ...available, digest: moved } },
      {},
      'CacheBackup',
      [copy, original],
    ],
    [
      'the source when the moved tag cannot be copied',
      imageOf({
        source: { ...available, digest: moved },
        mirrors: [{ ...verified, state: 'Failed' }],
      }),
      {},
      'CacheSource',
      [source, { ...copy, bestEffort: true }],
    ],
    [
      "nothing that kip's secrets alone may open, where the source is Unreachable",
      imageOf(unseen('Unreachable'), 3600),
      { settings: withSecrets },
      'MaybePrivate',
      [],
    ],
    [
      "nothing that kip's secrets alone may open, where the source is Missing",
      imageOf(unseen('Missing'), 3600),
      { settings: withSecrets },
      'MaybePrivate',
      [],
    ],
    [
      "nothing that kip's secrets alone may open, where the source is Invalid",
      imageOf(unseen('Invalid'), 3600),
      { settings: withSecrets },
      'MaybePrivate',
      [],
    ],
    [
      "nothing that kip's secrets alone may open, where nobody looks",
      unresolved({}, 61),
      { settings: withSecrets, mapping: nowhere },
      'MaybePrivate',
      [],
    ],
    [
      "nothing before the first look, where nodes pull with kip's secrets",
      unresolved(),
      { settings: withSecrets },
      'NotResolved',
      [],
    ],
    [
      'what was seen to be public, where the source does not answer any more',
      imageOf({ source: sourceIn('Unreachable') }),
      { settings: withSecrets },
      'CacheSource',
      [source],
    ],
    [
      'what anybody may read, although kip cannot copy it',
      imageOf({ source: { ...unseen('Invalid').source, digest: moved } as Source }),
      { settings: withSecrets },
      'CacheSource',
      [source],
    ],
    [
      'what stands in IMAGES, whatever the source says',
      {
        ...imageOf(unseen('Unreachable')),
        usage: { ...imageOf().usage, wanted: ['InUse', 'Static'] } as never,
      },
      { settings: withSecrets },
      'CacheSource',
      [source],
    ],
    [
      "what kip's secrets may open, where every kubelet checks who uses it",
      imageOf(unseen('Unreachable')),
      { settings: withSecrets, kubeletsCheck: true },
      'CacheSource',
      [source],
    ],
    ...[`${registry}/team/private:1`, 'backup.test:5001/elsewhere/private:1'].map(
      (reference): [string, ImageState, Partial<DecideInput>, ReasonCode, unknown[]] => [
        `nothing that the pull secret of the backup alone may open: ${reference}`,
        imageOf({ reference, ...unseen('Missing') }, 3600),
        { reference, settings: withPullSecret },
        'MaybePrivate',
        [],
      ],
    ),
    [
      'a verified copy, which the pull secret of the backup is for',
      done,
      { settings: withPullSecret },
      'CacheBackup',
      [copy, original],
    ],
    [
      'what lies where the pull secret of the backup opens nothing',
      imageOf(unseen('Missing'), 3600),
      { settings: withPullSecret },
      'CacheSource',
      [source],
    ],
    [
      'a reference of the backup as it is',
      imageOf({ reference: copyOfNginx }),
      { reference: copyOfNginx },
      'CacheSource',
      [{ reference: copyOfNginx, bestEffort: false }],
    ],
  ]
  for (const [what, image, change, code, references] of cases) {
    it(`${what}: ${code}`, () => {
      const { cache } = ask(image, change)
      assert.equal(cache.code, code)
      assert.deepEqual(cache.references, references)
      assert.equal(cache.act, references.length > 0)
    })
  }

  it('says when waiting ends, counted from the first sight', () => {
    assert.equal(ask(imageOf({}, 10)).cache.recheckAt, now + 50_000)
    assert.equal(ask(imageOf({}, 60)).cache.recheckAt, undefined)
  })

  it('counts from the making of an object that nobody looked at yet', () => {
    const { usage: _, ...image } = imageOf({ requested: true })
    const createdAt = new Date(now - 20_000).toISOString()
    assert.equal(ask({ ...image, createdAt }).cache.recheckAt, now + 40_000)
  })
})

describe('reason codes', () => {
  it('are explained in docs/reasons.md, each once and no other', async () => {
    const page = await readFile(new URL('../../../docs/reasons.md', import.meta.url), 'utf8')
    const explained = [...page.matchAll(/^\| `(\w+)` \|/gm)].map(([, code]) => code)
    assert.deepEqual([...explained].sort(), Object.keys(reasons).sort())
    for (const [code, text] of Object.entries(reasons)) {
      const row = `| \`${code}\` | ${text} | ${advice[code as ReasonCode]} |`
      assert.ok(page.includes(`${row}\n`), `${code}: ${text}`)
    }
  })
})
