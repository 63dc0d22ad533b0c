import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { Plan } from '../../../src/puller/plan.ts'
import { isResident } from '../../../src/puller/shard.ts'
import { pullerSettings } from './driver.ts'
import { calm, sizeOf, someBroken, World, ways, wild } from './world.ts'

const long = process.env.KIP_TEST_LONG === '1'
describe('whatever happens', () => {
  it('no good image that is wanted is ever without a holder once a node had it', () => {
    fc.assert(
      fc.property(
        someBroken,
        ways,
        sizeOf,
        fc.array(calm, { maxLength: 40 }),
        (broken, way, size, steps) => {
          const world = new World({ ...way, broken, size })
          const most = size === 'small' ? 2 : pullerSettings.podsPerNode
          const { driver } = world
          let known = 0
          const each = ({ changes, seen }: Plan): void => {
            const residents = changes.filter(({ shard }) => isResident(shard.kind))
            const written = residents.filter(({ action }) => action === 'apply')
            assert.ok(written.length <= 1, 'one shard that holds for good a round')
            for (const { name } of written) {
              const rolling = seen.shards.filter(
                (shard) => isResident(shard.kind) && !seen.isRolledOut(shard),
              )
              assert.deepEqual(rolling, [], `${name} was changed`)
            }
            for (const { shard } of residents) {
              for (const { reference } of shard.members) {
                assert.ok(!world.broken.has(reference), `${reference} is bad and was to be held`)
              }
            }
            for (const node of driver.cluster.nodes.keys()) {
              const pods = driver.cluster.shardsOn(node)
              assert.ok(pods <= most, `${pods} pods on ${node}`)
            }
            const { losses } = driver.cluster
            for (const loss of losses.slice(known)) {
              const reference = loss.split(' ')[1] ?? ''
              const lost = driver.wanted.has(reference) && !world.broken.has(reference)
              assert.ok(!lost, `lost: ${loss}`)
            }
            known = losses.length
          }
          for (const step of steps) world.take(step, each)
          driver.run(300, each)
        },
      ),
      { numRuns: long ? 600 : 100 },
    )
  })

  it('it ends with every wanted image held on every node, where there is room in holding shards alone', () => {
    fc.assert(
      fc.property(ways, sizeOf, fc.array(wild, { maxLength: 40 }), (way, size, steps) => {
        const world = new World({ ...way, size })
        const { driver } = world
        const { cluster } = driver
        for (const step of steps) world.take(step, () => {})
        world.broken.clear()
        for (const node of cluster.nodes.values()) node.lost = false
        if (cluster.nodes.size === 0) world.addNode('n0')
        driver.settle(20_000)
        for (const reference of driver.wanted.keys()) {
          for (const node of cluster.nodes.keys()) assert.ok(cluster.isHeld(node, reference))
        }
        const named = (bestEffort: boolean): readonly string[] =>
          [...driver.wanted.values()]
            .filter((item) => item.bestEffort === bestEffort)
            .map((item) => item.reference)
            .sort()
        const held = (name: string): readonly string[] =>
          [name, `${name}-2`].flatMap((shard) => cluster.members(shard)).sort()
        // Small nodes have one holding shard, and what finds no room in it beside what is new.
        if (size === 'roomy') {
          assert.deepEqual(
            [...cluster.daemonSets.keys()].filter((name) => !/^kip(-originals)?(-2)?$/.test(name)),
            [],
          )
          assert.deepEqual(held('kip'), named(false))
          assert.deepEqual(held('kip-originals'), named(true))
        }
        const writes = cluster.writes.length
        driver.restart()
        driver.run(300)
        assert.equal(cluster.writes.length, writes, 'a restart changes nothing')
      }),
      { numRuns: long ? 400 : 70 },
    )
  })
})
