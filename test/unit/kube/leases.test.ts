import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { type LeaseApi, LeaseElector } from 'lease-lock'
import type { HttpKubeClient } from '../../../src/kube/http-client.ts'
import { leaseApi } from '../../../src/kube/leases.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'

const leases = { group: 'coordination.k8s.io', version: 'v1', plural: 'leases', namespace: 'a' }

describe('leases', () => {
  let kube: FakeKube
  let client: HttpKubeClient
  let api: LeaseApi
  const { signal } = new AbortController()

  beforeEach(async () => {
    kube = await startFakeKube()
    client = kube.client()
    api = leaseApi(client, 'a', 'kip', { log: silentLog() })
  })
  afterEach(async () => {
    await client.close()
    await kube.stop()
  })

  test('read, create, replace; what the API server refuses is refused', async () => {
    assert.equal(await api.get(signal), undefined)
    const time = '2026-11-21T01:02:03.000004Z'
    const made = await api.create({ spec: { holderIdentity: 'x', renewTime: time } }, signal)
    assert.equal(made.metadata?.name, 'kip')
    assert.equal(made.spec?.renewTime, time)
    const next = await api.update({ ...made, spec: { ...made.spec, holderIdentity: 'y' } }, signal)
    assert.deepEqual(await api.get(signal), next)
    await assert.rejects(api.update(made, signal), { status: 409 })
    await assert.rejects(api.create({ spec: {} }, signal), { status: 409 })
    const short = { ...next, spec: { ...next.spec, renewTime: new Date().toISOString() } }
    await assert.rejects(api.update(short, signal), { status: 400 })
  })

  test('two electors, one leader; a graceful stop hands over within a second', async () => {
    kube.put(leases, {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { name: 'kip', namespace: 'a' },
    })
    const stops = [new AbortController(), new AbortController()]
    const terms: { who: number; at: number; token: string }[] = []
    const electors = stops.map(
      (_, who) =>
        new LeaseElector({
          api: leaseApi(client, 'a', 'kip', { log: silentLog() }),
          identity: `e${who}`,
          leaseDurationMs: 3000,
          renewDeadlineMs: 2000,
          retryPeriodMs: 500,
        }),
    )
    const runs = electors.map((elector, who) =>
      elector.run(
        async (term) => {
          terms.push({ who, at: performance.now(), token: term.token })
          await new Promise((resolve) => term.signal.addEventListener('abort', resolve))
        },
        (stops[who] as AbortController).signal,
      ),
    )
    while (terms.length === 0) await delay(5)
    await delay(50)
    assert.equal(electors.filter((elector) => elector.isLeader()).length, 1)
    const [first] = terms
    const stoppedAt = performance.now()
    stops[first?.who ?? 0]?.abort()
    await runs[first?.who ?? 0]
    while (terms.length === 1) await delay(5)
    assert.ok((terms[1]?.at ?? 0) - stoppedAt < 1000)
    assert.notEqual(terms[1]?.who, first?.who)
    assert.notEqual(terms[1]?.token, first?.token)
    stops.map((stop) => stop.abort())
    await Promise.all(runs)
    assert.equal((await api.get(signal))?.spec?.holderIdentity, '')
  })

  test('a leader whose connections all fell silent keeps its term by new ones', async () => {
    const shipped = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease' }
    kube.put(leases, { ...shipped, metadata: { name: 'kip', namespace: 'a' } })
    const timing = { leaseDurationMs: 6000, renewDeadlineMs: 4000, retryPeriodMs: 500 }
    const elector = new LeaseElector({
      api: leaseApi(client, 'a', 'kip', { log: silentLog(), timeoutMs: 1600 }),
      identity: 'one',
      ...timing,
    })
    const stop = new AbortController()
    const terms: AbortSignal[] = []
    const running = elector.run(async (term) => {
      terms.push(term.signal)
      await new Promise((resolve) => term.signal.addEventListener('abort', resolve))
    }, stop.signal)
    while (terms.length === 0) await delay(5)
    await Promise.all(Array.from({ length: 6 }, () => api.get(signal)))
    const before = new Set(kube.sockets)
    for (const socket of before) socket.pause()
    const renewed = (): unknown => Object(kube.get(leases, 'kip')).spec.renewTime
    const last = renewed()
    while (renewed() === last && terms[0]?.aborted === false) await delay(5)
    assert.equal(terms[0]?.aborted, false)
    stop.abort()
    await running
  })
})
