import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { RegistryError, type RegistryErrorCode } from '@containers/image-copy'
import { nextSource, type Outcome, outcomeOf } from '../../../src/resolver/outcome.ts'
import { firstLookMs, nextLookMs } from '../../../src/resolver/schedule.ts'
import type { Source } from '../../../src/state/cached-image.ts'

const now = Date.parse('2026-03-01T12:00:00.000Z')
const host = 'origin.test:5000'
const digestOf = (digit: string): string => `sha256:${digit.repeat(64)}`

describe('outcome of a refusal', () => {
  const states: [RegistryErrorCode, Source['state']][] = [
    ['COPY_NOT_FOUND', 'Missing'],
    ['COPY_UNAUTHORIZED', 'NeedsCredentials'],
    ['COPY_DENIED', 'NeedsCredentials'],
    ['COPY_RATE_LIMITED', 'Unreachable'],
    ['COPY_UNREACHABLE', 'Unreachable'],
    ['COPY_TLS', 'Unreachable'],
    ['COPY_TIMEOUT', 'Unreachable'],
    ['COPY_PROTOCOL', 'Unreachable'],
    ['COPY_SERVER_ERROR', 'Unreachable'],
    ['COPY_ADDRESS_REFUSED', 'Unreachable'],
    ['COPY_REDIRECT_REFUSED', 'Unreachable'],
    ['COPY_DIGEST_MISMATCH', 'Invalid'],
    ['COPY_MANIFEST_INVALID', 'Invalid'],
    ['COPY_MANIFEST_UNSUPPORTED', 'Invalid'],
    ['COPY_TOO_LARGE', 'Invalid'],
  ]
  for (const [code, state] of states) {
    it(`${code} is ${state}, in words of our own`, () => {
      const error = new RegistryError(code, 'GET https://x: the answer said <b>secret</b>', {
        host,
        status: 418,
      })
      const outcome = outcomeOf(error, host)
      assert.equal(outcome.state, state)
      assert.ok('message' in outcome)
      assert.ok(outcome.message.startsWith(`${code}: `) && outcome.message.includes(host))
      assert.ok(outcome.message.endsWith('(HTTP 418)'))
      assert.doesNotMatch(outcome.message, /secret|answer said/)
    })
  }

  it('takes what is no refusal for a source that cannot be reached', () => {
    const outcome = outcomeOf(new DOMException('timed out', 'TimeoutError'), host)
    assert.deepEqual(outcome, {
      state: 'Unreachable',
      message: `KIP_RESOLVE: ${host} could not be asked`,
    })
  })

  it('keeps what the registry asks for', () => {
    const error = new RegistryError('COPY_RATE_LIMITED', 'x', { host, retryAfterMs: 7_000 })
    const outcome = outcomeOf(error, host)
    assert.ok('retryAfterMs' in outcome && outcome.retryAfterMs === 7_000)
  })
})

describe('next source', () => {
  it('of one that asked for credentials stays closed while it is away, until anybody gets the image', () => {
    const closed = nextSource(undefined, { state: 'NeedsCredentials', message: 'm' }, now)
    for (const state of ['Unreachable', 'Missing', 'Invalid'] as const) {
      const away = nextSource(closed, { state, message: 'away' }, now)
      assert.equal(away.state, 'NeedsCredentials')
      assert.equal(away.message, 'away')
    }
    const found: Outcome = { state: 'Available', digest: digestOf('a'), mediaType: 'm' }
    assert.equal(nextSource(closed, found, now).state, 'Available')
    const old: Outcome = { state: 'Invalid', digest: digestOf('a'), message: 'schema 1' }
    assert.equal(nextSource(closed, old, now).state, 'Invalid')
  })

  it('of what kip cannot copy says what it is, and nothing of what it was', () => {
    const first = nextSource(undefined, found('a'), now)
    const outcome: Outcome = { state: 'Invalid', digest: digestOf('b'), message: 'schema 1' }
    assert.deepEqual(nextSource(first, outcome, now + 1000), {
      ...{ state: 'Invalid', digest: digestOf('b'), message: 'schema 1' },
      history: [{ digest: digestOf('a'), seenAt: checkedAt }],
      checkedAt: new Date(now + 1000).toISOString(),
    })
  })

  const found = (digit: string, details = true): Outcome => ({
    state: 'Available',
    digest: digestOf(digit),
    mediaType: 'type',
    ...(details ? { details: { platforms: ['linux/amd64'], sizeBytes: 5 } } : {}),
  })
  const checkedAt = new Date(now).toISOString()

  it('holds all that a first look found', () => {
    assert.deepEqual(nextSource(undefined, found('a'), now), {
      state: 'Available',
      digest: digestOf('a'),
      mediaType: 'type',
      platforms: ['linux/amd64'],
      sizeBytes: 5,
      checkedAt,
    })
  })

  it('keeps what hangs on a digest that stays', () => {
    const first = nextSource(undefined, found('a'), now)
    assert.deepEqual(nextSource(first, found('a', false), now), first)
  })

  it('remembers ten digests of a tag, the newest first', () => {
    let source: Source | undefined
    for (let i = 0; i < 15; i++) {
      source = nextSource(source, found(i.toString(16)), now + i * 1000)
    }
    assert.equal(source?.history?.length, 10)
    assert.deepEqual(source?.history?.[0], {
      digest: digestOf('d'),
      seenAt: new Date(now + 13_000).toISOString(),
    })
    assert.equal(source?.history?.at(-1)?.digest, digestOf('4'))
  })

  it('keeps what was known of a source that fails, and comes back clean', () => {
    const first = nextSource(undefined, found('a'), now)
    const gone = nextSource(first, { state: 'Missing', message: 'why' }, now + 1000)
    assert.deepEqual(gone, {
      ...first,
      state: 'Missing',
      message: 'why',
      checkedAt: new Date(now + 1000).toISOString(),
    })
    assert.deepEqual(nextSource(gone, found('a', false), now), first)
    assert.deepEqual(nextSource(undefined, { state: 'Missing', message: 'why' }, now), {
      state: 'Missing',
      message: 'why',
      checkedAt,
    })
  })
})

describe('schedule of looks', () => {
  const hour = 3_600_000
  const next = (change: Partial<Parameters<typeof nextLookMs>[0]>): number =>
    nextLookMs({ state: 'Available', failures: 0, intervalMs: hour, random: 0, ...change })

  it('looks again every interval, a little spread', () => {
    assert.equal(next({}), hour * 0.9)
    assert.equal(next({ random: 1 }), hour)
  })

  it('looks sooner, then later and later, when a source fails', () => {
    const waits = [1, 2, 3, 20, 1e9].map((failures) =>
      next({ state: 'Unreachable', failures, random: 1 }),
    )
    assert.deepEqual(waits, [15_000, 30_000, 60_000, 1_800_000, 1_800_000])
    assert.equal(next({ state: 'Missing', failures: 1, random: 1 }), 60_000)
    assert.equal(next({ state: 'NeedsCredentials', failures: 30, random: 1 }), hour)
    assert.equal(next({ state: 'Unreachable', failures: 1, random: 0 }), 7_500)
  })

  it('leaves a registry alone for as long as it asks', () => {
    assert.equal(next({ state: 'Unreachable', failures: 1, retryAfterMs: 90_000 }), 90_000)
  })

  it('leaves no registry alone for longer than a day because it asks', () => {
    const years = { state: 'Unreachable', failures: 1, retryAfterMs: 999_999_999_000 } as const
    assert.equal(next(years), 24 * hour)
    assert.equal(next({ intervalMs: hour * 10_000, random: 1 }), hour * 10_000)
  })

  it('spreads the first looks after a start over five minutes at most', () => {
    assert.equal(firstLookMs(hour, 0.5), 150_000)
    assert.equal(firstLookMs(60_000, 0.5), 30_000)
    assert.equal(firstLookMs(hour, 0), 1)
  })
})
