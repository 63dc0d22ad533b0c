import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Node } from '../../../src/kube/types.ts'
import { canMountImages } from '../../../src/puller/node-abilities.ts'
import { admitsDaemon } from '../../../src/puller/node-fit.ts'
import { type NodeView, projectNode } from '../../../src/puller/node-view.ts'
import { chooseStrategy } from '../../../src/puller/strategy-choice.ts'

function node(kubelet: string, runtime: string, more: Partial<Node> = {}): NodeView {
  return projectNode({
    metadata: { name: 'n1', labels: { disk: 'ssd' } },
    status: {
      nodeInfo: {
        architecture: 'amd64',
        operatingSystem: 'linux',
        kubeletVersion: kubelet,
        containerRuntimeVersion: runtime,
      },
    },
    ...more,
  })
}

const able = node('v1.35.4', 'containerd://2.2.9')

describe('chooseStrategy', () => {
  const choose = (input: Partial<Parameters<typeof chooseStrategy>[0]>): string =>
    chooseStrategy({ setting: 'auto', serverKeepsVolumes: true, nodes: [able], ...input }).strategy

  it('takes volumes only where server and all nodes can', () => {
    assert.equal(choose({}), 'volume')
    assert.equal(choose({ setting: 'volume' }), 'volume')
    assert.equal(choose({ serverKeepsVolumes: false }), 'init')
    assert.equal(choose({ setting: 'volume', serverKeepsVolumes: false }), 'init')
    assert.equal(choose({ nodes: undefined }), 'init')
    assert.equal(choose({ nodes: [able, node('v1.35.4', 'containerd://1.6.20')] }), 'init')
  })

  it('does what was set', () => {
    assert.equal(choose({ setting: 'sleep' }), 'sleep')
    assert.equal(choose({ setting: 'init' }), 'init')
  })
})

describe('canMountImages', () => {
  for (const [kubelet, runtime, can] of [
    ['v1.35.4', 'containerd://2.2.9', true],
    ['v1.36.0-gke.100', 'containerd://2.1.0', true],
    ['v1.35.4', 'containerd://2.0.5', false],
    ['v1.34.3', 'containerd://2.2.9', false],
    ['v1.35.0', 'cri-o://1.31.2', true],
    ['v1.35.0', 'cri-o://1.30.0', false],
    ['v1.35.0', 'docker://27.0.0', false],
    ['', '', true],
  ] as const) {
    it(`${kubelet} ${runtime}: ${can}`, () => {
      assert.equal(canMountImages(node(kubelet, runtime)), can)
    })
  }
})

describe('admitsDaemon', () => {
  const tainted = (key: string, effect = 'NoSchedule'): NodeView =>
    node('', '', {
      metadata: { name: 'n1', labels: { disk: 'ssd', size: '5' } },
      spec: { taints: [{ key, value: 'x', effect }] },
    })
  const plain = tainted('a', 'PreferNoSchedule')
  const required = (matchExpressions: readonly object[]): object => ({
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [{ matchExpressions }] },
    },
  })

  it('goes by labels', () => {
    assert.ok(admitsDaemon(plain, { nodeSelector: { disk: 'ssd' } }))
    assert.ok(!admitsDaemon(plain, { nodeSelector: { disk: 'hdd' } }))
  })

  it('goes by required node affinity', () => {
    for (const [expression, admitted] of [
      [{ key: 'disk', operator: 'In', values: ['ssd', 'nvme'] }, true],
      [{ key: 'disk', operator: 'NotIn', values: ['ssd'] }, false],
      [{ key: 'other', operator: 'NotIn', values: ['ssd'] }, true],
      [{ key: 'disk', operator: 'Exists' }, true],
      [{ key: 'disk', operator: 'DoesNotExist' }, false],
      [{ key: 'size', operator: 'Gt', values: ['4'] }, true],
      [{ key: 'size', operator: 'Lt', values: ['4'] }, false],
      [{ key: 'disk', operator: 'Odd' }, false],
    ] as const) {
      assert.equal(admitsDaemon(plain, { affinity: required([expression]) }), admitted)
    }
    assert.ok(!admitsDaemon(plain, { affinity: required([]) }))
  })

  it('goes by taints, those aside that every daemon bears', () => {
    assert.ok(!admitsDaemon(tainted('gpu'), {}))
    assert.ok(!admitsDaemon(tainted('gpu', 'NoExecute'), {}))
    assert.ok(admitsDaemon(tainted('gpu'), { tolerations: [{ operator: 'Exists' }] }))
    assert.ok(admitsDaemon(tainted('gpu'), { tolerations: [{ key: 'gpu', value: 'x' }] }))
    assert.ok(!admitsDaemon(tainted('gpu'), { tolerations: [{ key: 'gpu', value: 'y' }] }))
    const other = [{ key: 'gpu', operator: 'Exists', effect: 'NoExecute' }]
    assert.ok(!admitsDaemon(tainted('gpu'), { tolerations: other }))
    assert.ok(admitsDaemon(tainted('node.kubernetes.io/unschedulable'), {}))
  })
})
