import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { formatReference, parseReference } from '@containers/image-copy'
import fc from 'fast-check'
import { type DecideInput, decide } from '../../../src/decide/decide.ts'
import type { Placement } from '../../../src/decide/rewrite.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import type { ImageState } from '../../../src/state/cached-image.ts'

const now = Date.parse('2026-03-01T12:00:00Z')
const digests = ['a', 'b', 'c'].map((digit) => `sha256:${digit.repeat(64)}`)
const registries = ['backup.test:5001/m', 'other.test', '']

const digest = fc.constantFrom(...digests, 'sha256:short', '')
const reference = fc
  .tuple(
    fc.constantFrom('nginx', 'quay.io/a/b', 'backup.test:5001/m/quay.io/a/b', 'other.test/x'),
    fc.constantFrom('', ':1', ':latest', ':kip-1'),
    fc.constantFrom('', ...digests.map((each) => `@${each}`)),
  )
  .map((parts) => parts.join(''))
const time = fc.integer({ min: -200_000, max: 1000 }).map((ms) => new Date(now + ms).toISOString())

const mirror = fc.record(
  {
    registry: fc.constantFrom('own', 'own', ...registries),
    state: fc.constantFrom('Pending', 'Copying', 'Verified', 'Failed', 'Blocked'),
    reference: fc.oneof(fc.constant('copy'), fc.constant('copy'), reference),
    digest,
    code: fc.constantFrom('NeedsCredentials', 'COPY_TLS'),
  },
  { requiredKeys: ['registry', 'state', 'reference'] },
)

const image = fc.record({
  reference,
  requested: fc.boolean(),
  wanted: fc.subarray(['InUse', 'Static', 'Requested']),
  firstSeen: time,
  source: fc.option(
    fc.record(
      {
        state: fc.constantFrom(
          'Available',
          'Missing',
          'NeedsCredentials',
          'Unreachable',
          'Invalid',
        ),
        digest,
        checkedAt: time,
      },
      { requiredKeys: ['state', 'checkedAt'] },
    ),
    { nil: undefined },
  ),
  mirrors: fc.array(mirror, { maxLength: 3 }),
  sameReference: fc.constantFrom(true, true, false),
  /** Copied and unmoved. */
  ripe: fc.boolean(),
})

const spared = fc.record(
  {
    excluded: fc.boolean(),
    optedOut: fc.boolean(),
    staticPod: fc.boolean(),
    own: fc.boolean(),
    pullPolicy: fc.constantFrom('Always', 'IfNotPresent', 'Never'),
  },
  { requiredKeys: [] },
)
const placement = fc.oneof(fc.constant<Placement>({}), spared)

const input = fc
  .record({
    reference,
    image: fc.option(image, { nil: undefined }),
    mapping: fc.record({
      registry: fc.constantFrom(...registries),
      mapping: fc.constantFrom('path' as const, 'flat' as const),
    }),
    enabled: fc.constantFrom(true, true, false),
    rewrite: fc.constantFrom('available' as const, 'available' as const, 'never' as const),
    cacheOriginals: fc.boolean(),
    imagePullSecrets: fc.constantFrom([], [], ['corp']),
    pullSecret: fc.constantFrom('', 'kip-backup'),
    placement,
  })
  .map(({ reference, image, mapping, enabled, rewrite, placement, pullSecret, ...puller }) => {
    const own = createMapping(mapping)
    return {
      reference,
      image: image && stateOf(image, reference, own),
      mapping: own,
      settings: {
        mirror: { preCacheWaitSeconds: 60, pullSecret },
        admission: { enabled, rewrite },
        puller: { enabled: true, mode: 'own', ...puller },
      },
      now,
      placement,
    } satisfies DecideInput
  })

/** A state that mostly fits its reference, and whose mirrors mostly fit the mapping. */
function stateOf(
  drawn: { reference: string; sameReference: boolean } & Record<string, unknown>,
  asked: string,
  mapping: ReturnType<typeof createMapping>,
): ImageState {
  const { wanted, firstSeen, mirrors, source, requested, ripe } = drawn as never as {
    wanted: never
    firstSeen: string
    mirrors: { registry: string; reference: string }[]
    source: never
    requested: boolean
    ripe: boolean
  }
  const reference = parseReference(drawn.sameReference ? asked : drawn.reference)
  const settled = reference.digest ?? digests[0]
  const copy =
    mapping.registry === '' || mapping.isBackup(reference)
      ? 'none'
      : formatReference(mapping.backupOf(reference))
  return {
    reference: formatReference(reference),
    name: 'x',
    requested,
    resourceVersion: '1',
    usage: { wanted, pods: 0, workloads: 0, namespaces: 0, owners: [], firstSeen },
    mirrors: (ripe
      ? [{ registry: 'own', reference: 'copy', state: 'Verified', digest: settled }]
      : mirrors
    ).map((entry) => ({
      ...entry,
      registry: entry.registry === 'own' ? mapping.registry : entry.registry,
      reference: entry.reference === 'copy' ? copy : entry.reference,
    })) as never,
    conditions: [],
    ...(source === undefined
      ? {}
      : { source: ripe ? Object.assign({}, source, { digest: settled }) : source }),
  }
}

const runs = { numRuns: 5_000 }

describe('decide, whatever it is asked', () => {
  it('points a pod only at a digest that stands verified for its own copy', () => {
    let rewritten = 0
    fc.assert(
      fc.property(input, (input) => {
        const { rewrite } = decide(input)
        assert.equal(rewrite.act, rewrite.reference !== undefined)
        if (rewrite.reference === undefined) return
        rewritten++
        const { digest, ...copy } = parseReference(rewrite.reference)
        const source = parseReference(input.reference)
        assert.equal(formatReference(copy), formatReference(input.mapping.backupOf(source)))
        assert.ok(copy.tag !== undefined && digest !== undefined)
        assert.ok(
          input.image?.mirrors.some(
            (entry) => entry.digest === digest && entry.reference === formatReference(copy),
          ),
        )
        if (source.digest !== undefined) assert.equal(digest, source.digest)
      }),
      // Of them some 244 rewrite, with a deviation of 16.
      { numRuns: 2 * runs.numRuns },
    )
    assert.ok(rewritten > 100, `only ${rewritten} of the drawn cases rewrite`)
  })

  it('never touches what is excluded, opted out, static, its own, never pulled, or a copy', () => {
    fc.assert(
      fc.property(input, (input) => {
        const { excluded, optedOut, staticPod, own, pullPolicy } = input.placement
        const spared = excluded || optedOut || staticPod || own || pullPolicy === 'Never'
        const off =
          !input.settings.admission.enabled || input.settings.admission.rewrite === 'never'
        const copy = input.mapping.isBackup(parseReference(input.reference))
        if (spared || off || copy) assert.equal(decide(input).rewrite.act, false)
      }),
      runs,
    )
  })

  it('never copies or rewrites what asks for credentials, nor caches it unasked', () => {
    fc.assert(
      fc.property(input, (input) => {
        const { image } = input
        const known = image?.reference === formatReference(parseReference(input.reference))
        if (!known || image?.source?.state !== 'NeedsCredentials') return
        const { mirror, rewrite, cache } = decide(input)
        assert.equal(mirror.act, false)
        assert.equal(rewrite.act, false)
        const asked = image.requested || image.usage?.wanted.some((why) => why !== 'InUse')
        if (asked !== true) assert.deepEqual(cache.references, [])
      }),
      runs,
    )
  })

  it("never has nodes pull with kip's secrets what only these may get", () => {
    let held = 0
    fc.assert(
      fc.property(input, (input) => {
        const { image, settings, mapping, reference } = input
        const { cache } = decide(input)
        const asked = image?.requested || image?.usage?.wanted.some((why) => why !== 'InUse')
        const named =
          settings.puller.imagePullSecrets.length > 0 ||
          (settings.mirror.pullSecret !== '' && parseReference(reference).registry === mapping.host)
        if (!named || asked === true || !cache.act) return
        held++
        // A copy is made of what anybody may pull, and so tells as much as a look.
        const copied = image?.mirrors.some(({ digest }) => digest !== undefined)
        assert.ok(image?.source?.digest !== undefined || copied)
      }),
      { numRuns: 2 * runs.numRuns },
    )
    assert.ok(held > 50, `only ${held} of the drawn cases are held`)
  })

  it('caches what it would rewrite to, and only names that it can explain', () => {
    fc.assert(
      fc.property(input, (input) => {
        const { rewrite, cache } = decide(input)
        const wanted = cache.code !== 'NotWanted'
        if (rewrite.reference !== undefined && wanted) {
          assert.equal(cache.references[0]?.reference, rewrite.reference)
        }
        assert.equal(cache.act, cache.references.length > 0)
        assert.ok(cache.references.length <= 2)
        if (cache.act) assert.equal(cache.references[0]?.bestEffort, false)
        assert.ok(cache.references.slice(1).every(({ bestEffort }) => bestEffort))
        if (cache.recheckAt !== undefined) assert.ok(cache.recheckAt > now)
      }),
      runs,
    )
  })

  it('waits for nothing longer than it is told', () => {
    fc.assert(
      fc.property(input, (input) => {
        const { cache } = decide({ ...input, now: now + 3_600_000 })
        assert.equal(cache.recheckAt, undefined)
        assert.ok(cache.code !== 'WaitingForCopy' && cache.code !== 'NotResolved')
      }),
      runs,
    )
  })
})
