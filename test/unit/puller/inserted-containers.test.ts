import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Container, DaemonSet, PodSpec, Volume } from '../../../src/kube/types.ts'
import type { StrategyName } from '../../../src/puller/strategies/strategies.ts'
import { Driver, want } from './driver.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const agent: Container = { name: 'agent', image: 'corp.test/agent:1', command: ['/agent'] }
const library: Volume = { name: 'library', image: { reference: 'corp.test/library:1' } }

/** What webhooks of meshes and security agents make of a pod: containers of their own, and volumes in all of them. */
function injected(spec: PodSpec): PodSpec {
  const { initContainers = [], containers = [], volumes = [] } = spec
  if (containers.some(({ name }) => name === agent.name)) return spec
  const mount = { name: library.name, mountPath: '/opt/library' }
  const mounting = (container: Container): Container => ({
    ...container,
    volumeMounts: [...(container.volumeMounts ?? []), mount],
  })
  return {
    ...spec,
    initContainers: [{ ...agent, name: 'agent-init' }, ...initContainers.map(mounting)],
    containers: [agent, ...containers.map(mounting)],
    volumes: [library, ...volumes],
  }
}

/** A cluster whose API server has such a webhook for DaemonSets. */
function injecting(): SimulatedCluster {
  const cluster = new SimulatedCluster(['n1', 'n2'])
  const apply = cluster.apply.bind(cluster)
  cluster.apply = (object: DaemonSet) => {
    const { spec } = object
    const template = { ...spec?.template, spec: injected(spec?.template?.spec ?? {}) }
    apply({ ...object, spec: { ...spec, template } } as DaemonSet)
  }
  return cluster
}

describe('what another webhook inserts into the DaemonSets', () => {
  for (const strategy of ['init', 'sleep', 'volume'] satisfies readonly StrategyName[]) {
    it(`is written about no more than what it leaves alone, under ${strategy}`, () => {
      const driver = new Driver(injecting())
      driver.strategy = strategy
      driver.wanted = want('r.test/a:1')
      driver.settle()
      driver.wanted = want('r.test/a:1', 'r.test/b:1', {
        reference: 'r.test/o:1',
        bestEffort: true,
      })
      driver.settle()
      const left = new Driver(new SimulatedCluster(['n1', 'n2']))
      left.strategy = strategy
      left.wanted = want('r.test/a:1')
      left.settle()
      left.wanted = driver.wanted
      left.settle()
      assert.deepEqual(driver.cluster.writes, left.cluster.writes)
      assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip', 'kip-originals'])
      const held = driver.last?.seen.shards.map(({ members }) =>
        members.map(({ reference }) => reference).sort(),
      )
      assert.deepEqual(held, [['r.test/a:1', 'r.test/b:1'], ['r.test/o:1']])
    })
  }

  it('keeps no image from being set apart that fails beside it', () => {
    for (const strategy of ['init', 'volume'] as const) {
      const driver = new Driver(injecting())
      driver.strategy = strategy
      driver.cluster.behave = (image) => (image === 'r.test/bad:1' ? 'missing' : 'good')
      driver.wanted = want('r.test/a:1', 'r.test/bad:1')
      driver.settle()
      assert.equal(driver.last?.places.get('r.test/bad:1'), 'apart')
      assert.equal(driver.last?.places.get('r.test/a:1'), 'resident')
      assert.equal(driver.last?.seen.blocked.size, 0)
    }
  })
})
