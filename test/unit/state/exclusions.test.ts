import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createExclusions, type Exclusions } from '../../../src/state/exclusions.ts'
import { type FakeKube, type FakeObject, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const flag = { 'images.kip/ignore': 'true' }
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
    const settings = { namespace: 'own', discovery: { ignoreNamespaces: ['named', 'absent'] } }
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
    exclusions.onChange((namespace) => changed.push(namespace))
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
    assert.deepEqual(changed, ['open', 'annotated', 'new', 'new'])
  })
})
