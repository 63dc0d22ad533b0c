import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { KubeClient, KubeRequest } from '../../../src/kube/client.ts'
import type { DaemonSet } from '../../../src/kube/types.ts'
import type { ObservedShard } from '../../../src/puller/daemon-set.ts'
import { applyingWriter } from '../../../src/puller/writer.ts'

const { signal } = new AbortController()

/** The DaemonSets that one write of the shard `kip` sends. */
async function sent(observed: ObservedShard | undefined, taken = false): Promise<DaemonSet[]> {
  const objects: DaemonSet[] = []
  const client = {
    request: async (request: KubeRequest) => {
      objects.push(request.body as DaemonSet)
      return request.body
    },
  } as unknown as KubeClient
  const build = (name: string): DaemonSet => ({
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name },
  })
  await applyingWriter(client, 'kip').write(
    { name: 'kip', observed, isTaken: () => taken, build },
    signal,
  )
  return objects
}

describe('a DaemonSet that is changed in place', () => {
  it('is changed only as it was when the change was computed', async () => {
    const observed = { object: 'kip', uid: 'u-1', resourceVersion: '17' } as ObservedShard
    const [object] = await sent(observed)
    assert.deepEqual(object?.metadata, { name: 'kip', uid: 'u-1', resourceVersion: '17' })
  })

  it('is made where there is none, and waits for its namesake to go', async () => {
    const [object] = await sent(undefined)
    assert.deepEqual(object?.metadata, { name: 'kip' })
    assert.deepEqual(await sent(undefined, true), [])
  })
})
