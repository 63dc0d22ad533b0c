import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { KubeApiError } from '../../../src/kube/errors.ts'
import type { ImageState } from '../../../src/state/cached-image.ts'
import { ConflictError, type ImageStore } from '../../../src/state/store.ts'
import type { Image } from '../../cluster/images/image.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { FakeRegistry, fail } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'
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

describe('the backup is blamed for what is the backup’s', () => {
  const reason = async (bed: Awaited<ReturnType<typeof workerBed>>, reference: string) => {
    const { code, message } = await bed.reaches(reference, 'Failed')
    return [code, message]
  }

  it('when its token server is another host, and takes no password', async (t) => {
    await using tokens = await FakeRegistry.start({
      auth: { kind: 'bearer', users: basic.users },
    })
    const bed = await workerBed(t, {
      credentialsFile: () =>
        JSON.stringify({ auths: { [bed.backup.host]: { username: 'kip', password: 'wrong' } } }),
    })
    bed.backup.interceptor = (request, response) => {
      request.resume()
      const challenge = `Bearer realm="${tokens.url}/token",service="backup"`
      fail(response, 401, 'UNAUTHORIZED', { 'www-authenticate': challenge })
      return true
    }
    const reference = await bed.want(tinyImage(9), 'team/app')
    bed.work()
    const why = ['COPY_UNAUTHORIZED', `backup ${bed.backup.host}: COPY_UNAUTHORIZED`]
    assert.deepEqual(await reason(bed, reference), why)
    assert.match(tokens.takeLog().join(), /GET \/token.* 401/)
  })

  it('when it has uploads sent to another host, which refuses them', async (t) => {
    await using storage = await FakeRegistry.start()
    storage.interceptor = (request, response) => {
      request.resume()
      fail(response, 403, 'DENIED')
      return true
    }
    const bed = await workerBed(t)
    bed.backup.interceptor = (request, response) => {
      if (request.method !== 'POST') return false
      request.resume()
      const headers = { location: `${storage.url}/upload`, 'content-length': 0 }
      response.writeHead(202, headers).end()
      return true
    }
    const reference = await bed.want(tinyImage(10), 'team/app')
    bed.work()
    const why = ['COPY_DENIED', `backup ${bed.backup.host}: COPY_DENIED`]
    assert.deepEqual(await reason(bed, reference), why)
  })

  for (const { refused, state } of [
    { refused: 'mirror', state: 'Failed' },
    { refused: 'team', state: 'Blocked' },
  ] as const) {
    it(`when it is the source’s registry too, which refuses /${refused}: ${state}`, async (t) => {
      const bed = await workerBed(t, { registry: ({ source }) => `${source}/mirror` })
      const reference = await bed.want(tinyImage(11), 'team/app')
      bed.source.interceptor = (request, response) => {
        if (!request.url?.startsWith(`/v2/${refused}/`)) return false
        request.resume()
        fail(response, 403, 'DENIED')
        return true
      }
      bed.work()
      const { code } = await bed.reaches(reference, state)
      assert.equal(code, state === 'Blocked' ? 'NeedsCredentials' : 'COPY_DENIED')
    })
  }
})

describe('a try tells the bytes that it sent', () => {
  const sizeOf = (image: Image): number =>
    image.blobs.reduce((sum, { size }) => sum + size, image.bytes.length)

  it('when it came to its end', async (t) => {
    const bed = await workerBed(t)
    const image = sampleImage({ layers: [noise('a', 300_000)] })
    const reference = await bed.want(image, 'team/app')
    bed.work()
    await bed.reaches(reference, 'Verified')
    assert.deepEqual(
      bed.outcomes.map(({ bytes }) => bytes),
      [sizeOf(image)],
    )
  })

  it('when the backup refused what came last', async (t) => {
    const bed = await workerBed(t)
    bed.backup.interceptor = (request, response) => {
      if (request.method !== 'PUT' || !request.url?.includes('/manifests/')) return false
      request.resume()
      fail(response, 403, 'DENIED')
      return true
    }
    const image = sampleImage({ layers: [noise('a', 300_000)] })
    const reference = await bed.want(image, 'team/app')
    bed.work()
    await bed.reaches(reference, 'Failed')
    assert.deepEqual(
      bed.outcomes.map(({ bytes }) => bytes),
      [sizeOf(image) - image.bytes.length],
    )
  })

  it('when the copy could not be verified', async (t) => {
    const bed = await workerBed(t)
    const image = sampleImage({ layers: [noise('a', 300_000)] })
    const reference = await bed.want(image, 'team/app')
    let isTagged = false
    bed.backup.interceptor = (request, response) => {
      isTagged ||= request.method === 'PUT' && request.url?.endsWith('/manifests/1') === true
      if (!isTagged || request.method !== 'HEAD') return false
      fail(response, 403, 'DENIED')
      return true
    }
    bed.work()
    await bed.reaches(reference, 'Failed')
    assert.deepEqual(
      bed.outcomes.map(({ bytes }) => bytes),
      [sizeOf(image)],
    )
  })
})

it('a copy whose tag is right, and which lost a layer, is mended', async (t) => {
  const bed = await workerBed(t)
  const image = sampleImage({ layers: [noise('a', 300_000), noise('b', 1_000)] })
  const reference = await bed.want(image, 'team/app')
  const copy = bed.registry.replace(`${bed.backup.host}/`, '')
  const repository = `${copy}/${bed.source.host.replace(':', '_')}/team/app`
  await bed.backup.client.push(image, repository, '1')
  const lost = image.blobs.at(-1)?.digest ?? assert.fail()
  assert.ok(bed.backup.repository(repository).blobs.delete(lost))
  bed.work()
  await bed.reaches(reference, 'Verified')
  assert.ok(bed.backup.repository(repository).blobs.has(lost))
  assert.deepEqual(
    bed.outcomes.map(({ state, bytes }) => [state, bytes]),
    [['Verified', image.blobs.at(-1)?.size]],
  )
})

describe('pods are pointed no more at a copy that the backup has lost', () => {
  const digest = `sha256:${'b'.repeat(64)}`

  it('when it cannot be made anew', async (t) => {
    const bed = await workerBed(t)
    const reference = await bed.want(tinyImage(41), 'team/app', { digest })
    bed.backup.interceptor = (request, response) => {
      if (request.method !== 'POST') return false
      fail(response, 422, 'UNKNOWN')
      return true
    }
    bed.work()
    const failed = await bed.reaches(reference, 'Failed')
    assert.equal(failed.digest, undefined)
  })

  it('and a backup that does not answer has lost nothing', async (t) => {
    const bed = await workerBed(t)
    const reference = await bed.want(tinyImage(42), 'team/app', { digest })
    bed.backup.interceptor = (_, response) => {
      fail(response, 418, 'UNKNOWN')
      return true
    }
    bed.work()
    const failed = await bed.reaches(reference, 'Failed')
    assert.equal(failed.digest, digest)
  })
})
