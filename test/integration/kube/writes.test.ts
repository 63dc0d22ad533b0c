import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, beforeEach, describe, test } from 'node:test'
import {
  applyObject,
  createObject,
  deleteObject,
  getObject,
  updateObject,
} from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { conflictingManagers, isAlreadyExists, isConflict } from '../../../src/kube/errors.ts'
import { createEventRecorder } from '../../../src/kube/events.ts'
import { leaseApi } from '../../../src/kube/leases.ts'
import { type ResourcePath, resourcePath } from '../../../src/kube/resource.ts'
import type { Event, KubeList, KubeObject, Lease } from '../../../src/kube/types.ts'
import { acquireCluster } from '../../support/cluster.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const cluster = await acquireCluster({ nodes: 0 })
const maps: ResourcePath = { group: '', version: 'v1', plural: 'configmaps', namespace: 'default' }
const { signal } = new AbortController()

interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>>
}

// The fake API server is held to the same tests as the real one.
for (const server of ['real', 'fake'] as const) {
  describe(`writes at the ${server} API server`, () => {
    let client: KubeClient
    let fake: FakeKube | undefined
    let name: string

    before(async () => {
      fake = server === 'fake' ? await startFakeKube() : undefined
      client = fake?.client() ?? (await connectCluster({ kubeconfig: cluster.kubeconfig }))
    })
    after(async () => {
      await client.close()
      await fake?.stop()
    })
    beforeEach(() => {
      name = `t${randomUUID().slice(0, 8)}`
    })

    const map = (data: Record<string, string> = {}): ConfigMap => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name },
      data,
    })
    const apply = (fieldManager: string, data: Record<string, string>, more: object = {}) =>
      applyObject<ConfigMap>(client, maps, map(data), { fieldManager, signal, ...more })

    test('apply: fields of two managers, removal, conflict and its managers, force', async () => {
      await apply('one', { a: '1', b: '1' })
      assert.deepEqual((await apply('two', { c: '2' })).data, { a: '1', b: '1', c: '2' })
      assert.deepEqual((await apply('one', { a: '1' })).data, { a: '1', c: '2' })
      await assert.rejects(apply('two', { a: '2', c: '2' }), (error: unknown) => {
        assert.ok(isConflict(error))
        assert.deepEqual(conflictingManagers(error), ['one'])
        return true
      })
      assert.deepEqual((await apply('two', { a: '2' }, { force: true })).data, { a: '2' })
      // What another took by force is no longer one's own to remove.
      assert.deepEqual((await apply('one', {})).data, { a: '2' })
    })

    test('apply over what another wrote by other means is a conflict too', async () => {
      await createObject(client, maps, map({ a: '1' }), { signal, fieldManager: 'creator' })
      await assert.rejects(apply('one', { a: '2' }), (error: unknown) => {
        assert.ok(isConflict(error))
        assert.deepEqual(conflictingManagers(error), ['creator'])
        return true
      })
      assert.deepEqual((await apply('one', { a: '1', b: '1' })).data, { a: '1', b: '1' })
    })

    test('apply with a version: stale is a conflict, current is not, and one that changes nothing makes none', async () => {
      const first = await apply('one', { a: '1' })
      const second = await apply('one', { a: '2' })
      const withVersion = (object: ConfigMap) => ({
        ...map({ a: '3' }),
        metadata: { name, resourceVersion: object.metadata?.resourceVersion ?? '' },
      })
      const options = { fieldManager: 'one', signal }
      await assert.rejects(applyObject(client, maps, withVersion(first), options), isConflict)
      const third = await applyObject<ConfigMap>(client, maps, withVersion(second), options)
      const again = await apply('one', { a: '3' })
      assert.equal(again.metadata?.resourceVersion, third.metadata?.resourceVersion)
    })

    test('dry run stores nothing', async () => {
      const dry = await apply('one', { a: '1' }, { dryRun: true })
      assert.deepEqual(dry.data, { a: '1' })
      assert.equal(await getObject(client, maps, name, { signal }), undefined)
    })

    test('create, replace and delete with their conditions', async () => {
      const made = await createObject<ConfigMap>(client, maps, map({ a: '1' }), { signal })
      await assert.rejects(createObject(client, maps, map(), { signal }), isAlreadyExists)
      const next = await updateObject<ConfigMap>(
        client,
        maps,
        { ...made, data: { a: '2' } } as ConfigMap,
        { signal },
      )
      await assert.rejects(updateObject(client, maps, made, { signal }), isConflict)
      await assert.rejects(
        deleteObject(client, maps, name, { signal, uid: randomUUID() }),
        isConflict,
      )
      await assert.rejects(
        deleteObject(client, maps, name, {
          signal,
          resourceVersion: made.metadata?.resourceVersion ?? '',
        }),
        isConflict,
      )
      const { uid = '', resourceVersion = '' } = next.metadata ?? {}
      assert.equal(await deleteObject(client, maps, name, { signal, uid, resourceVersion }), true)
      assert.equal(await deleteObject(client, maps, name, { signal }), false)
    })

    test('leases: versions, six digits, durations, watch', async () => {
      const api = leaseApi(client, 'default', name, { log: silentLog() })
      const stop = new AbortController()
      const seen: (Lease | undefined)[] = []
      const watching = api.watch((lease) => seen.push(lease), stop.signal)
      assert.equal(await api.get(signal), undefined)
      const spec = {
        holderIdentity: 'x',
        leaseDurationSeconds: 15,
        renewTime: '2026-11-21T01:02:03.000004Z',
        acquireTime: '2026-11-21T01:02:03.000004Z',
        leaseTransitions: 0,
      }
      const made = await api.create({ spec }, signal)
      assert.deepEqual(made.spec, spec)
      const next = await api.update({ ...made, spec: { ...spec, holderIdentity: 'y' } }, signal)
      await assert.rejects(api.update(made, signal), { status: 409, reason: 'Conflict' })
      await assert.rejects(api.create({ spec }, signal), { status: 409, reason: 'AlreadyExists' })
      for (const renewTime of [
        '2026-11-21T01:02:03Z',
        '2026-11-21T01:02:03.000Z',
        '2026-11-21T01:02:03.0000000Z',
      ]) {
        await assert.rejects(api.update({ ...next, spec: { ...next.spec, renewTime } }, signal), {
          status: 400,
          reason: 'BadRequest',
        })
      }
      await assert.rejects(
        api.update({ ...next, spec: { ...next.spec, leaseDurationSeconds: 0 } }, signal),
        { status: 422, reason: 'Invalid' },
      )
      await deleteObject(
        client,
        { group: 'coordination.k8s.io', version: 'v1', plural: 'leases', namespace: 'default' },
        name,
        { signal },
      )
      await waitUntil('the deletion', () => seen.length >= 2 && seen.at(-1) === undefined)
      stop.abort()
      await watching
    })

    test('events: one object in a series', async () => {
      const recorder = createEventRecorder({
        client,
        controller: 'images.kip/kip',
        instance: 'test',
        log: silentLog(),
      })
      const path = resourcePath({
        group: 'events.k8s.io',
        version: 'v1',
        plural: 'events',
        namespace: 'default',
      })
      const told = async (): Promise<Event | undefined> => {
        const list = await client.request<KubeList<Event>>({ method: 'GET', path, signal })
        const own = (list.items ?? []).filter(({ regarding }) => regarding?.name === name)
        assert.ok(own.length <= 1)
        return own[0]
      }
      const note = {
        regarding: {
          apiVersion: 'v1',
          kind: 'ConfigMap',
          metadata: { namespace: 'default', name },
        },
        type: 'Normal',
        reason: 'Tried',
        action: 'Try',
        note: 'it was tried',
      } as const
      recorder.record(note)
      await waitUntil('the first', told)
      recorder.record(note)
      recorder.record(note)
      await recorder.close()
      assert.equal((await told())?.series?.count, 3)
    })
  })
}
