import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { LoopDetector, type LostPod, lostPodOf } from '../../../src/admission/loop-detector.ts'
import { refusalOf } from '../../../src/admission/refusals.ts'
import type { Pod } from '../../../src/kube/types.ts'

const minute = 60_000
const cluster = {
  apiVersion: 'postgresql.cnpg.io/v1',
  kind: 'Cluster',
  name: 'db',
  namespace: 'shop',
}
const replicaSet = { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web-1', namespace: 'shop' }

function lost(pod: string, createdAt: number, deletedAt: number, owner = cluster): LostPod {
  return { uid: pod, owner: { ...owner, uid: `uid of ${owner.name}` }, createdAt, deletedAt }
}

describe('an owner that deletes each rewritten pod and makes another', () => {
  test('is a loop with the third', () => {
    const detector = new LoopDetector()
    assert.equal(detector.lost(lost('a', 0, minute)), false)
    assert.equal(detector.lost(lost('b', minute, 2 * minute)), false)
    assert.equal(detector.lost(lost('c', 2 * minute, 3 * minute)), true)
    assert.equal(detector.size, 0)
  })

  test('of a built-in kind, whose pods people delete, with the sixth', () => {
    const detector = new LoopDetector()
    const rounds = [0, 1, 2, 3, 4, 5].map((round) =>
      detector.lost(lost(`p${round}`, round * minute, (round + 1) * minute, replicaSet)),
    )
    assert.deepEqual(rounds, [false, false, false, false, false, true])
  })

  test('counts no pod twice, however often the watch tells of it', () => {
    const detector = new LoopDetector()
    for (let times = 0; times < 10; times++) {
      assert.equal(detector.lost(lost('a', 0, 0)), false)
    }
  })

  test('counts pods that were there together once: a node that is drained is no loop', () => {
    const detector = new LoopDetector()
    for (let pod = 0; pod < 10; pod++) {
      assert.equal(detector.lost(lost(`p${pod}`, 0, minute + pod)), false)
    }
  })

  test('counts no pod that had been there for long', () => {
    const detector = new LoopDetector()
    for (let round = 0; round < 10; round++) {
      const at = round * 11 * minute
      assert.equal(detector.lost(lost(`p${round}`, at, at + 11 * minute)), false)
    }
  })

  test('begins anew after a long pause', () => {
    const detector = new LoopDetector()
    for (let round = 0; round < 10; round++) {
      const at = round * 16 * minute
      assert.equal(detector.lost(lost(`p${round}`, at, at)), false)
    }
  })
})

test('two thousand owners are remembered, and the one that was quiet for longest goes first', () => {
  const detector = new LoopDetector()
  for (let owner = 0; owner < 10_000; owner++) {
    detector.lost(lost(`${owner}`, 0, 0, { ...cluster, name: `db-${owner}` }))
  }
  assert.equal(detector.size, 2_000)
})

test('an owner whose pods are refused three times is one, unless long pauses lie between', () => {
  const detector = new LoopDetector()
  assert.equal(detector.refused('u', 2, 0), false)
  assert.equal(detector.refused('u', 1, minute), true)
  assert.equal(detector.refused('u', 2, 0), false)
  assert.equal(detector.refused('u', 2, 16 * minute), false)
})

describe('a pod', () => {
  const pod = {
    metadata: {
      uid: 'p',
      namespace: 'shop',
      creationTimestamp: '2027-01-01T00:00:00Z',
      deletionTimestamp: '2027-01-01T00:01:30Z',
      deletionGracePeriodSeconds: 30,
      annotations: { 'images.kip/original-images': '{}' },
      ownerReferences: [{ ...cluster, uid: 'u', controller: true }],
    },
    status: { phase: 'Running' },
  }

  test('counts from its deletion, not from the end of its grace period', () => {
    const found = lostPodOf(pod as Pod)
    assert.equal((found?.deletedAt ?? 0) - (found?.createdAt ?? 0), minute)
    assert.deepEqual(found?.owner, { ...cluster, uid: 'u' })
  })

  const changes: readonly [string, object][] = [
    ['was not rewritten', { metadata: { ...pod.metadata, annotations: {} } }],
    ['is not deleted', { metadata: { ...pod.metadata, deletionTimestamp: undefined } }],
    ['has no controller', { metadata: { ...pod.metadata, ownerReferences: [] } }],
    ['came to its end', { status: { phase: 'Succeeded' } }],
    ['failed', { status: { phase: 'Failed' } }],
  ]
  for (const [what, change] of changes) {
    test(`that ${what} does not count`, () => {
      assert.equal(lostPodOf({ ...pod, ...change } as Pod), undefined)
    })
  }
})

describe('an event', () => {
  const regarding = { ...replicaSet, uid: 'u' }
  const event = (note: string, more: object = {}) => ({
    reason: 'FailedCreate',
    regarding,
    note,
    deprecatedCount: 4,
    deprecatedLastTimestamp: '2027-01-01T00:00:00Z',
    ...more,
  })
  const policies = [
    'Error creating: admission webhook "validate.kyverno.svc-fail" denied the request: policy restrict-image-registries: Unknown image registry.',
    'Error creating: admission webhook "validation.gatekeeper.sh" denied the request: [repos] container <web> has an invalid image repo <backup.test/docker.io/library/nginx:1>',
    "Error creating: pods \"web-1-x\" is forbidden: ValidatingAdmissionPolicy 'registries' with binding 'all' denied request: only registry.example",
    'Error creating: pods "web-1-x" is forbidden: image policy webhook backend denied one or more images: no',
    'Error creating: admission webhook "policy.sigstore.dev" denied the request: no matching signatures: spec.containers[0]',
  ]
  for (const note of policies) {
    test(`tells of a policy about images: ${note.slice(16, 70)}`, () => {
      const refusal = refusalOf(event(note), 'backup.test')
      assert.equal(refusal?.count, 4)
      assert.deepEqual(refusal?.owner, regarding)
      assert.equal(refusal?.namesBackup, note.includes('backup.test/'))
    })
  }

  const others = [
    'Error creating: pods "web-1-x" is forbidden: exceeded quota: pods',
    'Error creating: admission webhook "p" denied the request: privileged containers are not allowed',
    'Error creating: Internal error occurred: failed calling webhook "images": connection refused',
  ]
  for (const note of others) {
    test(`does not: ${note.slice(16, 70)}`, () => {
      assert.equal(refusalOf(event(note), 'backup.test'), undefined)
    })
  }

  test('of another kind does not', () => {
    const other = event(policies[0] ?? '', { reason: 'FailedScheduling' })
    assert.equal(refusalOf(other, 'backup.test'), undefined)
  })
})
