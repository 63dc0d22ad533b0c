import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { rootCertificates } from 'node:tls'
import { createRegistryClient, faultOfAuthorities } from '@containers/image-copy'
import { openAuthority } from '../../cluster/pki.ts'

describe('authorities', () => {
  let folder: string
  let good: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-authorities-'))
    good = (await openAuthority(folder)).certificate
  })
  after(() => rm(folder, { recursive: true, force: true }))

  test('are taken, any number and with text between them', () => {
    const bundle = ['a comment', good, '', '# another', good.replaceAll('\n', '\r\n')].join('\n')
    assert.equal(faultOfAuthorities(bundle), undefined)
    assert.equal(faultOfAuthorities(rootCertificates.join('\n')), undefined)
    createRegistryClient({ ca: bundle })
  })

  test('of which there are none are told', () => {
    for (const text of ['', 'x', good.replaceAll('CERTIFICATE', 'PRIVATE KEY')])
      assert.match(faultOfAuthorities(text) ?? '', /^holds no PEM certificate/)
  })

  test('behind a broken one were passed over in silence', () => {
    const cut = good.slice(0, good.length / 2)
    const altered = good.replace(/\n[^\n]{8}/, '\nAAAAAAAA')
    const cases = {
      [good + altered + good]: '2 of 3',
      [good + cut]: '2 of 2',
      [cut + good]: '1 of 2',
    }
    for (const [bundle, number] of Object.entries(cases)) {
      const fault = `holds a PEM certificate that cannot be read: number ${number}`
      assert.equal(faultOfAuthorities(bundle), fault)
      assert.throws(() => createRegistryClient({ ca: bundle }), new TypeError(`ca ${fault}`))
    }
  })
})
