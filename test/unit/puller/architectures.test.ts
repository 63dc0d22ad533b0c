import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { affinityFor } from '../../../src/puller/affinity.ts'
import { architecturesOf } from '../../../src/puller/architectures.ts'
import { effectiveWhere, groundOf, isMeant } from '../../../src/puller/ground.ts'
import { projectNode } from '../../../src/puller/node-view.ts'

const node = (name: string, architecture: string) =>
  projectNode({ metadata: { name, labels: { 'kubernetes.io/arch': architecture } } })
const mixed = groundOf([node('n1', 'amd64'), node('n2', 'arm64')], {})
const alone = groundOf([node('n1', 'amd64')], {})

describe('the architectures of the nodes that can run an image', () => {
  for (const [platforms, there, able] of [
    [['linux/amd64', 'linux/arm64/v8'], mixed, []],
    [['linux/amd64'], mixed, ['amd64']],
    [['linux/amd64', 'unknown/unknown'], mixed, ['amd64']],
    [['linux/amd64'], alone, []],
    [['linux/s390x'], mixed, undefined],
    [['windows/amd64'], alone, undefined],
    [['unknown/unknown'], mixed, []],
    [[], mixed, []],
    [undefined, mixed, []],
  ] as const) {
    it(`${platforms?.join(' ') ?? 'unknown'} among ${[...there.architectures].join(' ')}`, () => {
      assert.deepEqual(architecturesOf(platforms, there), able)
    })
  }

  it('are none in particular as long as all nodes are of them', () => {
    assert.equal(effectiveWhere('amd64', alone), '')
    assert.equal(effectiveWhere('at0a1b2c3d-amd64', alone), 'at0a1b2c3d')
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
    assert.equal(affinityFor(affinity, []), affinity)
    assert.equal(affinityFor(affinity, [], { terms: [] }), affinity)
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
    assert.deepEqual(affinityFor(affinity, ['amd64']), {
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
    assert.deepEqual(affinityFor({}, ['amd64']), {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchExpressions: [expression] }],
        },
      },
    })
  })

  it('narrows it by each alternative of a placing', () => {
    const [a, b, c] = ['a', 'b', 'c'].map((key) => ({ key, operator: 'Exists' }))
    assert.ok(a && b && c)
    const required = { nodeSelectorTerms: [{ matchExpressions: [a] }] }
    const affinity = { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: required } }
    const { nodeAffinity } = affinityFor(affinity, ['amd64'], { terms: [[b], [c]] })
    assert.deepEqual(nodeAffinity, {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [
          { matchExpressions: [a, b, expression] },
          { matchExpressions: [a, c, expression] },
        ],
      },
    })
  })
})
