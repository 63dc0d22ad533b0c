import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  type Architectures,
  affinityFor,
  effectiveWhere,
  isMeant,
  whereOf,
} from '../../../src/puller/architectures.ts'

const nodes = new Map([
  ['n1', 'amd64'],
  ['n2', 'arm64'],
])
const mixed: Architectures = { present: new Set(nodes.values()), of: (name) => nodes.get(name) }
const alone: Architectures = { present: new Set(['amd64']), of: () => 'amd64' }

describe('where an image is to be', () => {
  for (const [platforms, there, where] of [
    [['linux/amd64', 'linux/arm64/v8'], mixed, ''],
    [['linux/amd64'], mixed, 'amd64'],
    [['linux/amd64', 'unknown/unknown'], mixed, 'amd64'],
    [['linux/amd64'], alone, ''],
    [['linux/s390x'], mixed, undefined],
    [['windows/amd64'], alone, undefined],
    [['unknown/unknown'], mixed, ''],
    [[], mixed, ''],
    [undefined, mixed, ''],
  ] as const) {
    it(`${platforms?.join(' ') ?? 'unknown'} among ${[...there.present].join(' ')}`, () => {
      assert.equal(whereOf(platforms, there), where)
    })
  }

  it('is every node as long as all are of one of its architectures', () => {
    assert.equal(effectiveWhere('amd64', alone), '')
    assert.equal(effectiveWhere('amd64', mixed), 'amd64')
    assert.ok(isMeant('n1', 'amd64', mixed))
    assert.ok(!isMeant('n2', 'amd64', mixed))
    assert.ok(isMeant('new', 'amd64', mixed), 'a node that is not known yet')
  })
})

describe('affinityFor', () => {
  const expression = { key: 'kubernetes.io/arch', operator: 'In', values: ['amd64'] }

  it('leaves the affinity of shards for all nodes as it is', () => {
    const affinity = { podAffinity: {} }
    assert.equal(affinityFor(affinity, ''), affinity)
  })

  it('narrows each alternative that the user gave', () => {
    const terms = [
      { matchExpressions: [{ key: 'a', operator: 'Exists' }] },
      { matchFields: [{ key: 'metadata.name', operator: 'In', values: ['n1'] }] },
    ]
    const affinity = {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: terms },
        preferredDuringSchedulingIgnoredDuringExecution: [],
      },
    }
    assert.deepEqual(affinityFor(affinity, 'amd64'), {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [
            { matchExpressions: [{ key: 'a', operator: 'Exists' }, expression] },
            { ...terms[1], matchExpressions: [expression] },
          ],
        },
        preferredDuringSchedulingIgnoredDuringExecution: [],
      },
    })
    assert.deepEqual(affinityFor({}, 'amd64'), {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [expression] }],
        },
      },
    })
  })
})
