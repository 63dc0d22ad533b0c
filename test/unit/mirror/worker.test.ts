import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { KubeApiError } from '../../../src/kube/errors.ts'
import type { ImageStore } from '../../../src/state/store.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
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
