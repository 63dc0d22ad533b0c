import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { KubeClient, KubeRequest } from '../../../src/kube/client.ts'
import { KubeApiError } from '../../../src/kube/errors.ts'
import type { DaemonSet } from '../../../src/kube/types.ts'
import { fingerprintAnnotation, type ObservedShard } from '../../../src/puller/daemon-set.ts'
import { applyingWriter } from '../../../src/puller/writer.ts'

const { signal } = new AbortController()

/**
 * The DaemonSets that one write of the shard `kip` sends.
 *
 * @param present what there is by then, if it was written since
 */
async function sent(
  observed: ObservedShard | undefined,
  { taken = false, present }: { taken?: boolean; present?: DaemonSet } = {},
): Promise<DaemonSet[]> {
  const objects: DaemonSet[] = []
  const client = {
    request: async ({ method, body }: KubeRequest) => {
      if (method === 'GET') return present
      const object = body as DaemonSet
      objects.push(object)
      const asked = object.metadata?.resourceVersion
      if (present === undefined || asked === present.metadata?.resourceVersion) return body
      throw new KubeApiError({ status: 409, reason: 'Conflict', message: 'written since' })
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

const observed = {
  ...{ object: 'kip', uid: 'u-1', resourceVersion: '17', generation: 3, fingerprint: 'f' },
} as ObservedShard

describe('a DaemonSet that is changed in place', () => {
  it('is changed only as it was when the change was computed', async () => {
    const [object] = await sent(observed)
    assert.deepEqual(object?.metadata, { name: 'kip', uid: 'u-1', resourceVersion: '17' })
  })

  const present = (generation: number, fingerprint: string): DaemonSet => ({
    metadata: {
      ...{ name: 'kip', uid: 'u-1', resourceVersion: '18', generation },
      annotations: { [fingerprintAnnotation]: fingerprint },
    },
  })

  it('is changed though its controller counted pods in its status meanwhile', async () => {
    const versions = (await sent(observed, { present: present(3, 'f') })).map(
      ({ metadata }) => metadata?.resourceVersion,
    )
    assert.deepEqual(versions, ['17', '18'])
  })

  it('is left as somebody else has changed it since', async () => {
    for (const other of [present(4, 'f'), present(3, 'g')]) {
      await assert.rejects(sent(observed, { present: other }), { status: 409 })
    }
  })

  it('is made where there is none, and waits for its namesake to go', async () => {
    const [object] = await sent(undefined)
    assert.deepEqual(object?.metadata, { name: 'kip' })
    assert.deepEqual(await sent(undefined, { taken: true }), [])
  })
})
