import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { buildDaemonSet, readDaemonSet } from '../../../src/puller/daemon-set.ts'
import { Driver, pullerSettings, want } from './driver.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const old = 'r.test/web:1'
const next = 'r.test/web:2'
const nodes = ['n0', 'n1', 'n2', 'n3', 'n4']

/** All nodes hold the old image; a roll-out is to replace it where `before` says. */
function start(before: readonly string[]): Driver {
  const driver = new Driver(new SimulatedCluster(nodes))
  driver.wanted = want(old)
  driver.settle()
  driver.cluster.pullTicks = () => 5
  driver.wanted = want(old, next)
  driver.before.set(next, before)
  return driver
}

/** Nodes in the order in which they came to hold an image, those of one moment together. */
function order(driver: Driver, reference: string, seconds: number): readonly string[] {
  const came: string[] = []
  const known = new Set<string>()
  driver.run(seconds, () => {
    const now = nodes.filter((node) => !known.has(node) && driver.cluster.isHeld(node, reference))
    for (const node of now) known.add(node)
    if (now.length > 0) came.push(now.join(' '))
  })
  return came
}

describe('the image of a roll-out', () => {
  it('is asked for first where the pods are that it replaces', () => {
    const driver = start(['n3', 'n1'])
    assert.deepEqual(order(driver, next, 60), ['n1 n3', 'n0 n2 n4'])
    driver.settle()
    assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip'])
    assert.deepEqual(driver.cluster.losses, [])
  })

  it('is asked for everywhere at once where these are most nodes, or none that is there', () => {
    for (const before of [['n0', 'n1', 'n2'], ['gone'], []]) {
      assert.deepEqual(order(start(before), next, 60), [nodes.join(' ')], before.join())
    }
  })

  it('comes everywhere though the first nodes are lost, fail, or go', () => {
    for (const trouble of ['lost', 'bad', 'gone'] as const) {
      const driver = start(['n1'])
      driver.run(3)
      const node = driver.cluster.nodes.get('n1')
      if (trouble === 'lost' && node !== undefined) node.lost = true
      if (trouble === 'gone') driver.cluster.removeNode('n1')
      if (trouble === 'bad') {
        driver.cluster.behave = (reference, name) =>
          reference === next && name === 'n1' ? 'missing' : 'good'
      }
      driver.run(700)
      for (const name of nodes.filter((one) => one !== 'n1')) {
        assert.ok(driver.cluster.isHeld(name, next), `${trouble}: ${name}`)
      }
    }
  })

  it('waits for no other new image, nor any for it', () => {
    const driver = start(['n1'])
    driver.wanted = want(old, next, 'r.test/new:1')
    assert.deepEqual(order(driver, 'r.test/new:1', 60), [nodes.join(' ')])
    assert.ok(nodes.every((node) => driver.cluster.isHeld(node, next)))
  })

  it('ends held everywhere whenever kip begins anew', () => {
    fc.assert(
      fc.property(
        fc.array(fc.nat({ max: 20 }), { maxLength: 5 }),
        fc.subarray(nodes),
        (waits, before) => {
          const driver = start(before)
          for (const seconds of waits) {
            driver.run(seconds)
            driver.restart()
          }
          driver.settle()
          assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip'])
          assert.ok(nodes.every((node) => driver.cluster.isHeld(node, next)))
          assert.deepEqual(driver.cluster.losses, [])
        },
      ),
      { numRuns: 20 },
    )
  })

  it('names one node a term, as the API server demands, and has all read back', () => {
    const settings = { ...pullerSettings, affinity: {} }
    const object = buildDaemonSet(
      {
        ...{ kind: 'fresh', index: 1, first: ['n1', 'n2'] },
        members: [{ container: 'web', reference: next }],
      },
      { namespace: 'kip', settings, strategy: 'init', owner: undefined },
    )
    assert.deepEqual(readDaemonSet(object, 'kip')?.first, ['n1', 'n2'])
    const term = (name: string) => ({
      matchFields: [{ key: 'metadata.name', operator: 'In', values: [name] }],
    })
    assert.deepEqual(object.spec?.template?.spec?.affinity, {
      nodeAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [term('n1'), term('n2')],
        },
      },
    })
  })
})
