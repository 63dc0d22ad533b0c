import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { nodesOf } from '../../../src/puller/node-status.ts'
import type { PodView } from '../../../src/puller/pod-view.ts'
import type { Failure } from '../../../src/puller/strategies/strategy.ts'
import { type Survey, survey } from '../../../src/puller/survey.ts'
import type { Verdict } from '../../../src/puller/verdict.ts'

const image = 'r.test/a:1'
const no = (): boolean => false
const yes = (): boolean => true

function pod(node: string, verdict: Verdict, failure?: Failure, blocked?: Failure): PodView {
  return {
    name: `kip-${node}`,
    shard: 'kip',
    node,
    template: 't',
    ready: verdict === 'started',
    lost: false,
    images: [image],
    containers: ['a'],
    verdicts: [verdict],
    failures: new Map(failure === undefined ? [] : [[0, failure]]),
    ...(blocked === undefined ? {} : { blocked }),
  }
}

function look(desired: number, ...pods: readonly PodView[]): Survey {
  const shard = {
    name: 'kip',
    object: 'kip',
    revision: 0,
    kind: 'holding' as const,
    index: 1,
    members: [{ container: 'a', reference: image }],
    uid: 'u',
    resourceVersion: '1',
    fingerprint: 'f',
    template: 't',
    generation: 1,
    observedGeneration: 1,
    desired,
    ready: 0,
    updated: desired,
    created: '',
    deleting: false,
    pullSecrets: [],
    formerSecrets: [],
  }
  return survey([shard], pods)
}

const notFound = { reason: 'ErrImagePull', message: 'r.test/a:1: not found' }
const backOff = { reason: 'ImagePullBackOff', message: 'Back-off pulling image "r.test/a:1"' }
const told = { node: 'n2', reason: 'ErrImagePull', message: 'the registry does not have it' }

describe('nodesOf', () => {
  it('counts each node once, by the best that its pods say', () => {
    const seen = look(
      4,
      pod('n1', 'started'),
      { ...pod('n1', 'pending'), shard: 'kip-fresh' },
      pod('n2', 'failed', notFound),
      pod('n3', 'unstartable'),
    )
    assert.deepEqual(nodesOf([image], seen, undefined, no), {
      desired: 4,
      cached: 2,
      pulling: 1,
      failed: 1,
      failures: [told],
    })
  })

  it('takes back-off for what was said when it began', () => {
    const seen = look(2, pod('n2', 'failed', backOff))
    const before = { desired: 2, cached: 0, pulling: 0, failed: 1, failures: [told] }
    assert.deepEqual(nodesOf([image], seen, before, no).failures, [told])
  })

  it('keeps the failures of an image that is set apart until its new pods say something', () => {
    const before = { desired: 2, cached: 0, pulling: 0, failed: 2, failures: [told] }
    const fresh = look(2, pod('n1', 'started'), pod('n2', 'pending'))
    assert.deepEqual(nodesOf([image], fresh, before, yes), {
      desired: 2,
      cached: 1,
      pulling: 0,
      failed: 1,
      failures: [told],
    })
    assert.equal(nodesOf([image], fresh, before, no).pulling, 1)
  })

  it('names the nodes that cannot run the sleep image', () => {
    const seen = look(2, pod('n1', 'pending', undefined, notFound), pod('n2', 'started'))
    const { cached, failed, failures } = nodesOf([image], seen, undefined, no)
    assert.deepEqual([cached, failed, failures[0]?.node], [1, 1, 'n1'])
    assert.match(failures[0]?.message ?? '', /sleepImage/)
  })

  it('lists ten failures of many', () => {
    const pods = Array.from({ length: 30 }, (_, index) => pod(`n${index}`, 'failed', notFound))
    const { failed, failures } = nodesOf([image], look(30, ...pods), undefined, no)
    assert.deepEqual([failed, failures.length], [30, 10])
  })

  it('tells the poorest of several names, and nothing of none', () => {
    const seen = look(1, pod('n1', 'started'))
    assert.equal(nodesOf([image, 'r.test/other:1'], seen, undefined, no).cached, 0)
    assert.equal(nodesOf([], seen, undefined, no).desired, 0)
  })
})
