import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import {
  createEventRecorder,
  type EventNote,
  type EventRecorder,
} from '../../../src/kube/events.ts'
import type { HttpKubeClient } from '../../../src/kube/http-client.ts'
import type { Event } from '../../../src/kube/types.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { silentLog } from '../../support/silent-log.ts'

const events = { group: 'events.k8s.io', version: 'v1', plural: 'events' }
const minute = 60_000

describe('events', () => {
  let kube: FakeKube
  let client: HttpKubeClient
  let clock: ManualClock
  let recorder: EventRecorder
  const log = silentLog()
  const noteOn = (name: string, note = 'it is so'): EventNote => ({
    regarding: {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { namespace: 'a', name, uid: `uid-${name}` },
    },
    type: 'Warning',
    reason: 'InvalidImage',
    action: 'Discover',
    note,
  })

  beforeEach(async () => {
    kube = await startFakeKube()
    client = kube.client()
    clock = new ManualClock()
    log.lines.length = 0
    recorder = createEventRecorder({
      client,
      controller: 'images.kip/kip',
      instance: 'kip-0',
      log,
      clock,
      date: () => 1_800_000_000_123.456 + clock.now(),
    })
  })
  afterEach(async () => {
    await recorder.close()
    await client.close()
    await kube.stop()
  })

  const stored = (): Event[] => [...kube.list(events)] as Event[]
  async function settled(writes: number): Promise<void> {
    for (let waited = 0; waited < 400 && kube.requests.length < writes; waited += 1) {
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    await new Promise((resolve) => setTimeout(resolve, 5))
    assert.equal(kube.requests.length, writes)
  }

  test('one event, complete', async () => {
    recorder.record(noteOn('x'))
    await settled(1)
    const [event] = stored()
    const { metadata, ...rest } = event ?? {}
    assert.equal(metadata?.namespace, 'a')
    assert.match(metadata?.name ?? '', /^x\.[0-9a-f]{16}$/)
    assert.deepEqual(rest, {
      apiVersion: 'events.k8s.io/v1',
      kind: 'Event',
      eventTime: '2027-01-15T08:00:00.123456Z',
      reportingController: 'images.kip/kip',
      reportingInstance: 'kip-0',
      action: 'Discover',
      reason: 'InvalidImage',
      regarding: { apiVersion: 'v1', kind: 'Pod', namespace: 'a', name: 'x', uid: 'uid-x' },
      note: 'it is so',
      type: 'Warning',
    })
  })

  test('again and again: one object, a series, few writes', async () => {
    recorder.record(noteOn('x'))
    await settled(1)
    recorder.record(noteOn('x'))
    await settled(2)
    for (let times = 0; times < 99; times += 1) {
      clock.advance(1000)
      recorder.record(noteOn('x', `time ${times}`))
    }
    recorder.record(noteOn('y'))
    await settled(3)
    assert.equal(stored().length, 2)
    assert.equal(stored().find(({ regarding }) => regarding?.name === 'x')?.series?.count, 2)
    clock.advance(7 * minute)
    await settled(4)
    const series = stored().find(({ regarding }) => regarding?.name === 'x')?.series
    assert.equal(series?.count, 101)
    assert.match(series?.lastObservedTime ?? '', /\.\d{6}Z$/)
    recorder.record(noteOn('x'))
    await settled(5)
    assert.equal(stored().length, 3, 'after a quiet time a series begins anew')
  })

  test('a series that outlives its event is told anew', async () => {
    recorder.record(noteOn('x'))
    await settled(1)
    const [event] = stored()
    kube.delete({ ...events, namespace: 'a' }, event?.metadata?.name ?? '')
    recorder.record(noteOn('x'))
    await settled(3)
    assert.equal(stored()[0]?.series?.count, 2)
  })

  test('what is to be told once is not told again by the next process', async () => {
    const told = { ...noteOn('x'), once: 'this very thing' }
    const log = silentLog()
    for (let times = 0; times < 2; times += 1) {
      const client = kube.client()
      const next = createEventRecorder({ client, controller: 'images.kip/kip', instance: 'p', log })
      next.record(told)
      next.record({ ...told, once: `another ${times}` })
      await next.close()
      await client.close()
    }
    assert.equal(kube.list({ ...events, namespace: 'a' }).length, 3)
    assert.deepEqual(log.lines, [])
  })

  test('of an object without namespace, in default; a long note is cut at a character', async () => {
    const { regarding, ...rest } = noteOn('x', 'ü'.repeat(600))
    recorder.record({ ...rest, regarding: { ...regarding, metadata: { name: 'x' } } })
    await settled(1)
    const [event] = stored()
    assert.equal(event?.metadata?.namespace, 'default')
    assert.ok(Buffer.byteLength(event?.note ?? '') <= 1024)
    assert.match(event?.note ?? '', /^ü+…$/)
  })

  test('what cannot be told is logged, and never thrown; floods are cut', async () => {
    kube.fault = () => ({ status: 403, reason: 'Forbidden' })
    recorder.record(noteOn('x'))
    await settled(1)
    assert.match(log.lines[0]?.message ?? '', /could not be told/)
    kube.fault = () => 'hang'
    for (let at = 0; at < 60; at += 1) recorder.record(noteOn(`p${at}`))
    assert.match(log.lines[1]?.message ?? '', /too many events/)
    await kube.stop()
    await recorder.close()
    recorder.record(noteOn('late'))
    assert.equal(clock.pending, 0)
  })
})
