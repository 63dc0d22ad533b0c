import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { KubeApiError } from '../../../src/kube/errors.ts'
import type { ImageState } from '../../../src/state/cached-image.ts'
import { ConflictError, type ImageStore } from '../../../src/state/store.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { workerBed } from './worker-bed.ts'

const basic = { kind: 'basic', users: { kip: 'secret' } } as const

describe('no claim outlives its try', () => {
  it('when the credentials file is broken: the copy failed, and is made once the file is mended', async (t) => {
    let file = '{"auths":{"backup.test":{"auth":"oops!"}}}'
    const bed = await workerBed(t, { backup: { auth: basic }, credentialsFile: () => file })
    const reference = await bed.want(tinyImage(1), 'team/app')
    bed.work()
    const failed = await bed.reaches(reference, 'Failed')
    assert.equal(failed.code, 'COPY_CREDENTIALS_INVALID')
    assert.equal(failed.worker, undefined)
    assert.equal(failed.attempts, 1)
    assert.ok(failed.retryAt)
    assert.doesNotMatch(JSON.stringify(failed), /oops/)
    assert.deepEqual(
      bed.outcomes.map(({ state, code }) => [state, code]),
      [['Failed', 'COPY_CREDENTIALS_INVALID']],
    )
    file = JSON.stringify({
      auths: { [bed.backup.host]: { auth: btoa(Object.entries(basic.users)[0]?.join(':') ?? '') } },
    })
    await bed.put(reference, { state: 'Pending' })
    await bed.reaches(reference, 'Verified')
  })

  it('when the credentials file is gone', async (t) => {
    const credentialsFile = () => {
      throw Object.assign(new Error('ENOENT: /secret/place'), { code: 'ENOENT' })
    }
    const bed = await workerBed(t, { backup: { auth: basic }, credentialsFile })
    const reference = await bed.want(tinyImage(2), 'team/app')
    bed.work()
    const failed = await bed.reaches(reference, 'Failed')
    assert.equal(failed.code, 'ENOENT')
    assert.doesNotMatch(failed.message ?? '', /secret/)
  })

  for (const status of [400, 401, 403, 422]) {
    it(`when the API server answers its result with ${status}`, async (t) => {
      const bed = await workerBed(t)
      let refusals = 1
      const store: ImageStore = {
        ...bed.store,
        async putMirror(image, mirror, signal) {
          if (mirror.state === 'Verified' && refusals-- > 0) {
            throw new KubeApiError({ status, reason: 'Refused', message: 'refused' })
          }
          return await bed.store.putMirror(image, mirror, signal)
        },
      }
      const reference = await bed.want(tinyImage(3), 'team/app')
      bed.work(store)
      await bed.reaches(reference, 'Verified')
      assert.equal(bed.outcomes.length, 1, 'it is not copied again')
    })
  }
})

describe('a claim of its own is worked on to its end', () => {
  const broken = () => new KubeApiError({ status: 0, reason: 'Broken', message: 'cut' })

  it('when the answer to the claim is lost', async (t) => {
    const bed = await workerBed(t)
    let lost = 0
    const store: ImageStore = {
      ...bed.store,
      async putMirror(image, mirror, signal) {
        const stored = await bed.store.putMirror(image, mirror, signal)
        if (mirror.state === 'Copying' && lost++ === 0) throw broken()
        return stored
      },
    }
    const reference = await bed.want(tinyImage(4), 'team/app')
    bed.work(store)
    await bed.reaches(reference, 'Verified')
    assert.equal(bed.outcomes.length, 1, 'it is copied once')
  })

  it('when the answer is lost, and the watch is slow to tell of the claim', async (t) => {
    const bed = await workerBed(t)
    const listeners = new Set<(reference: string) => void>()
    let old: ImageState | undefined
    let conflicts = 0
    const store: ImageStore = {
      ...bed.store,
      get: (reference) => old ?? bed.store.get(reference),
      onChange(listener) {
        listeners.add(listener)
        const stop = bed.store.onChange((reference) => old ?? listener(reference))
        return () => {
          listeners.delete(listener)
          stop()
        }
      },
      async putMirror(image, mirror, signal) {
        const first = mirror.state === 'Copying' && conflicts === 0
        if (first) old ??= image
        try {
          const stored = await bed.store.putMirror(image, mirror, signal)
          if (first) throw broken()
          return stored
        } catch (error) {
          if (error instanceof ConflictError) conflicts += 1
          throw error
        }
      },
    }
    const reference = await bed.want(tinyImage(5), 'team/app')
    bed.work(store)
    await waitUntil('the claim is sent again', () => conflicts === 1)
    old = undefined
    for (const listener of listeners) listener(reference)
    await bed.reaches(reference, 'Verified')
    assert.equal(bed.outcomes.length, 1)
  })

  it('when it stood from an earlier life', async (t) => {
    const bed = await workerBed(t)
    const claim = { state: 'Copying', worker: 'leader/1', since: '2026-01-01T00:00:00Z' } as const
    const reference = await bed.want(tinyImage(6), 'team/app', claim)
    bed.work()
    await bed.reaches(reference, 'Verified')
  })

  it('and what another has claimed is left to it', async (t) => {
    const bed = await workerBed(t)
    const theirs = await bed.want(tinyImage(7), 'team/app', {
      state: 'Copying',
      worker: 'leader/2',
    })
    const free = await bed.want(tinyImage(8), 'team/free')
    bed.work()
    await bed.reaches(free, 'Verified')
    assert.equal(bed.entry(theirs)?.worker, 'leader/2')
    assert.deepEqual(
      bed.outcomes.map(({ reference }) => reference),
      [free],
    )
  })
})
