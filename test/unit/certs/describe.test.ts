import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { describeIdentity } from '../../../certs/describe.ts'
import { bundleOf, type StoredIdentity } from '../../../certs/identity.ts'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'

const day = 86_400_000
const now = Date.UTC(2027, 0, 1)
const names = ['webhook.example', '10.0.0.1']
const context = { now, lifetimes: defaultLifetimes, names }

async function identity(): Promise<StoredIdentity> {
  const signer = await issueAuthority(context)
  return { signer, retired: [], serving: await issueServing(signer, context) }
}

function described(
  own: StoredIdentity,
  more: { trusted?: string; now?: number; names?: string[] },
) {
  const served = { ...own.serving, bundle: bundleOf(own) }
  return describeIdentity({ identity: served, own, names, now, ...more })
}

describe('the description of an identity', () => {
  test('tells for whom it stands, who signed it, and when it turns', async () => {
    const next = await issueAuthority(context)
    const former = await issueAuthority(context)
    const own = { ...(await identity()), next, retired: [former.certificate] }
    const { keptBy, served, authorities, faults } = described(own, { trusted: bundleOf(own) })
    assert.equal(keptBy, 'kip')
    assert.deepEqual(served.names, names)
    assert.equal(served.issuer, authorities[0]?.subject)
    assert.match(served.issuer, /^CN=kip webhook authority/)
    assert.equal(served.notAfter, new Date(now + 90 * day).toISOString())
    // 60 % of 90 days and the hour before.
    assert.equal(served.replacedFrom?.slice(0, 10), '2027-02-23')
    assert.deepEqual(
      authorities.map(({ role, replacedFrom }) => [role, replacedFrom?.slice(0, 10)]),
      [
        ['signs', '2027-08-07'],
        ['next', undefined],
        ['retired', undefined],
      ],
    )
    assert.deepEqual(faults, [])
  })

  test('of others it is not known when it turns', async () => {
    const { serving, signer } = await identity()
    const provided = { ...serving, bundle: signer.certificate }
    const { keptBy, served, authorities, faults } = describeIdentity({
      identity: provided,
      names,
      now,
    })
    assert.equal(keptBy, 'others')
    assert.equal(served.replacedFrom, undefined)
    assert.deepEqual(
      authorities.map(({ role }) => role),
      ['trusted'],
    )
    assert.deepEqual(faults, [])
  })

  test('what keeps API servers from calling is told, all at once', async () => {
    const own = await identity()
    const stranger = (await identity()).signer.certificate
    assert.deepEqual(described(own, { now: now + 91 * day }).faults, ['the certificate has ended'])
    assert.deepEqual(described(own, { now: now - day }).faults, [
      'the certificate is not valid yet',
    ])
    const faults = described(own, { trusted: stranger, names: ['webhook.example', 'other'] }).faults
    assert.deepEqual(faults, [
      'the certificate does not stand for other',
      'the webhook configuration does not trust whoever signed the certificate',
    ])
    const foreign = { ...own.serving, bundle: stranger }
    assert.match(
      describeIdentity({ identity: foreign, names, now }).faults.join(),
      /no valid authority in ca\.crt has signed/,
    )
  })

  test('an empty bundle leaves the check to the API server', async () => {
    const { serving } = await identity()
    const served = { ...serving, bundle: '' }
    assert.deepEqual(describeIdentity({ identity: served, names, trusted: '', now }).faults, [])
  })
})
