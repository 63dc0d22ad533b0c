import assert from 'node:assert/strict'
import { X509Certificate } from 'node:crypto'
import { before, describe, test } from 'node:test'
import { bundleOf, type StoredIdentity } from '../../../certs/identity.ts'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import { namesOf, readCertificates } from '../../../certs/pem.ts'
import { advanceIdentity, nextIdentity, type RotationContext } from '../../../certs/rotation.ts'

const day = 86_400_000
const start = Date.UTC(2027, 0, 1)
const names = ['kip-webhook.k8s-image-puller.svc']
const lifetimes = defaultLifetimes

function at(now: number, changes: Partial<RotationContext> = {}): RotationContext {
  return { now, lifetimes, names, trustedForMs: () => undefined, ...changes }
}

function served({ serving }: StoredIdentity): readonly string[] {
  return namesOf(new X509Certificate(serving.certificate))
}

describe('the next step of an identity', () => {
  let fresh: StoredIdentity
  let introduced: StoredIdentity
  let promoted: StoredIdentity
  let forged: StoredIdentity

  before(async () => {
    fresh = await advanceIdentity(undefined, at(start))
    // The serving certificate is renewed on the way, so that only the authority is due.
    const renewed = await advanceIdentity(fresh, at(start + 200 * day))
    introduced = await advanceIdentity(renewed, at(start + 219 * day))
    promoted = await advanceIdentity(
      introduced,
      at(start + 219 * day, { trustedForMs: () => 60_000 }),
    )
    const stranger = await issueAuthority(at(start))
    forged = { ...fresh, serving: await issueServing(stranger, at(start)) }
  })

  const table: readonly [
    name: string,
    identity: () => StoredIdentity | undefined,
    context: RotationContext,
    step: string,
  ][] = [
    ['nothing there', () => undefined, at(start), 'create'],
    ['just made', () => fresh, at(start), 'keep'],
    ['serving: shortly before 60 % of its life', () => fresh, at(start + 53 * day), 'keep'],
    ['serving: at 60 % of its life', () => fresh, at(start + 54 * day), 'reissue'],
    ['serving: ended while nobody looked', () => fresh, at(start + 100 * day), 'reissue'],
    [
      'serving: does not stand for a new name',
      () => fresh,
      at(start, { names: ['a.b'] }),
      'extend',
    ],
    [
      'serving: does not stand for a new name, at 60 % of its life',
      () => fresh,
      at(start + 54 * day, { names: ['a.b'] }),
      'reissue',
    ],
    [
      'serving: signed by a stranger, without a new name',
      () => forged,
      at(start, { names: ['a.b'] }),
      'reissue',
    ],
    ['serving: signed by a stranger', () => forged, at(start), 'reissue'],
    ['clock far behind: not valid yet', () => fresh, at(start - 30 * day), 'keep'],
    ['authority: at 60 % of its life', () => fresh, at(start + 219 * day), 'introduce'],
    ['next: nobody is known to trust it', () => introduced, at(start + 220 * day), 'keep'],
    [
      'next: trusted for 59 s',
      () => introduced,
      at(start + 220 * day, { trustedForMs: () => 59_999 }),
      'keep',
    ],
    [
      'next: trusted for 60 s',
      () => introduced,
      at(start + 220 * day, { trustedForMs: () => 60_000 }),
      'promote',
    ],
    ['authority: ended, next never trusted', () => introduced, at(start + 366 * day), 'promote'],
    ['authority: ended, no next', () => fresh, at(start + 366 * day), 'create'],
    ['authority and next: both ended', () => introduced, at(start + 600 * day), 'create'],
    ['former authority: overlap', () => promoted, at(start + 219 * day + 23 * 3_600_000), 'keep'],
    ['former authority: after the overlap', () => promoted, at(start + 220 * day), 'retire'],
  ]
  for (const [name, identity, context, step] of table) {
    test(`${name}: ${step}`, () => {
      const next = nextIdentity(identity(), context)
      assert.equal(next.step, step)
      if (next.step === 'keep') assert.ok(next.until > context.now)
    })
  }

  test('the bundle holds the next authority before it signs, and the former while it may be served', () => {
    const certificates = (identity: StoredIdentity): readonly string[] =>
      readCertificates(bundleOf(identity), 'bundle').map((each) => each.fingerprint256)
    const [old] = certificates(fresh)
    assert.equal(certificates(fresh).length, 1)
    assert.equal(certificates(introduced).length, 2)
    assert.equal(certificates(introduced)[0], old)
    assert.deepEqual(certificates(promoted), certificates(introduced).toReversed())
  })

  test('introducing an authority does not touch what is served', async () => {
    const renewed = await advanceIdentity(fresh, at(start + 200 * day))
    const next = await advanceIdentity(renewed, at(start + 219 * day))
    assert.equal(next.serving.certificate, renewed.serving.certificate)
  })

  test('a new name leaves the former ones in, until the certificate is due', async () => {
    const changed = await advanceIdentity(fresh, at(start + day, { names: ['a.b', 'fd00::1'] }))
    assert.deepEqual(served(changed), ['a.b', 'FD00:0:0:0:0:0:0:1', ...names])
    const renewed = await advanceIdentity(changed, at(start + 60 * day, { names: ['a.b'] }))
    assert.deepEqual(served(renewed), ['a.b'])
  })

  test('names that change again and again do not pile up', async () => {
    let identity = fresh
    for (let i = 0; i < 30; i++) {
      identity = await advanceIdentity(
        identity,
        at(start, { names: [`${i}.test`, `${i}.example`] }),
      )
    }
    const last = served(identity)
    assert.equal(last.length, 18)
    assert.deepEqual(last.slice(0, 4), ['29.test', '29.example', '28.test', '28.example'])
  })

  test('a name that no certificate covers is an error, not a loop', async () => {
    await assert.rejects(advanceIdentity(undefined, at(start, { names: ['höst.example'] })), {
      code: 'KIP_CERTS_NAMES',
    })
  })
})

test('through three years, checked daily: always a valid chain, replaced before two thirds', async () => {
  let identity: StoredIdentity | undefined
  let serials = new Set<string>()
  const authorities = new Set<string>()
  let trust: { certificate: string; since: number } | undefined
  for (let now = start; now < start + 3 * 365 * day; now += day) {
    const context = at(now, {
      trustedForMs: (certificate) =>
        trust?.certificate === certificate ? now - trust.since : undefined,
    })
    const before = identity
    identity = await advanceIdentity(identity, context)
    const next = identity.next?.certificate
    trust = next === undefined ? undefined : { certificate: next, since: now }

    const leaf = new X509Certificate(identity.serving.certificate)
    const signer = readCertificates(bundleOf(identity), 'bundle').find((ca) => leaf.checkIssued(ca))
    assert.ok(signer && leaf.verify(signer.publicKey))
    // Whoever still trusts only yesterday's bundle can verify what is served today.
    if (before) assert.ok(bundleOf(before).includes(signer.toString().trim()))
    for (const certificate of [leaf, signer]) {
      const from = certificate.validFromDate.getTime()
      const life = certificate.validToDate.getTime() - from
      assert.ok(now - from < (life * 2) / 3)
    }
    serials = serials.add(leaf.serialNumber)
    authorities.add(signer.fingerprint256)
  }
  assert.equal(authorities.size, 5)
  assert.ok(serials.size >= 20 && serials.size <= 26, `${serials.size} serving certificates`)
})
