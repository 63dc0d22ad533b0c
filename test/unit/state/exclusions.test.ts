import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createExclusions, type Exclusions } from '../../../src/state/exclusions.ts'
import { type FakeKube, type FakeObject, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const flag = { 'images.kip/ignore': 'true' }
// The label is on every namespace of the test but the one that has the opposite.
const namespaceSelector = {
  matchExpressions: [{ key: 'care', operator: 'NotIn', values: ['false'] }],
}
const resource = { group: '', version: 'v1', plural: 'namespaces' }

describe('exclusions', () => {
  let kube: FakeKube
  let exclusions: Exclusions
  let changed: string[]
  let stop: () => Promise<void>

  const put = (name: string, metadata: object = {}): void => {
    kube.put(resource, { metadata: { name, ...metadata } } as FakeObject)
  }

  before(async () => {
    kube = await startFakeKube()
    for (const name of ['kube-system', 'own', 'named', 'open']) put(name)
    put('labelled', { labels: flag })
    put('annotated', { annotations: flag })
    const client = kube.client()
    const settings = {
      namespace: 'own',
      discovery: { ignoreNamespaces: ['named', 'absent'], namespaceSelector },
    }
    exclusions = createExclusions({ client, settings, log: silentLog() })
    assert.equal(exclusions.excluded('open'), true, 'before anything is known')
    const controller = new AbortController()
    const running = exclusions.run(controller.signal)
    stop = async () => {
      controller.abort()
      await running
      await client.close()
      await kube.stop()
    }
    await exclusions.synced
    changed = []
    exclusions.onChange((namespace, gone) => changed.push(gone ? `${namespace} gone` : namespace))
  })
  after(() => stop())

  it('leave out what is always out, named, or flagged, and what is not known', () => {
    const all = ['kube-system', 'own', 'named', 'labelled', 'annotated', 'unknown']
    assert.deepEqual(all.filter(exclusions.excluded), all)
    assert.equal(exclusions.excluded('open'), false)
    assert.deepEqual(exclusions.names(), [
      'absent',
      'annotated',
      'kube-system',
      'labelled',
      'named',
      'own',
    ])
  })

  it('leave out what the selector does not select, without naming it', async () => {
    put('other', { labels: { care: 'false' } })
    put('chosen', { labels: { care: 'true' } })
    await waitUntil('known', () => !exclusions.excluded('chosen'))
    assert.equal(exclusions.excluded('other'), true)
    assert.ok(!exclusions.names().includes('other'))
    put('other', { labels: { care: 'false', ...flag } })
    await waitUntil('named by its flag', () => exclusions.names().includes('other'))
    put('other', { labels: { care: 'true' } })
    await waitUntil('selected', () => !exclusions.excluded('other'))
    put('chosen', { labels: { care: 'false' } })
    await waitUntil('not any more', () => exclusions.excluded('chosen'))
    for (const name of ['other', 'chosen']) kube.delete(resource, name)
    await waitUntil('gone', () => changed.filter((line) => line.endsWith('gone')).length === 2)
    assert.deepEqual(changed, [
      'other',
      'chosen',
      'other',
      'other',
      'chosen',
      'other gone',
      'chosen gone',
    ])
    changed.length = 0
  })

  it('follow flags, and tell only of answers that changed', async () => {
    put('open', { labels: { any: 'thing' } })
    put('named', { labels: flag })
    put('open', { labels: flag })
    await waitUntil('flagged', () => exclusions.excluded('open'))
    put('open', { annotations: flag })
    put('annotated')
    await waitUntil('unflagged', () => !exclusions.excluded('annotated'))
    put('new')
    await waitUntil('known', () => !exclusions.excluded('new'))
    kube.delete(resource, 'new')
    await waitUntil('gone', () => exclusions.excluded('new'))
    assert.deepEqual(changed, ['open', 'annotated', 'new', 'new gone'])
  })
})
