import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type Ground, groundOf, isMeant } from '../../../src/puller/ground.ts'
import type { Plan } from '../../../src/puller/plan.ts'
import { overRoom } from '../../../src/puller/room.ts'
import type { Driver } from './driver.ts'
import { busy, narrow, World } from './world.ts'

const long = process.env.KIP_TEST_LONG === '1'

function groundNow({ cluster, settings }: Driver): Ground {
  return groundOf(
    [...cluster.nodes.values()].map(({ view }) => view),
    settings,
  )
}

describe('where nodes may have few pods of few images, whatever happens', () => {
  it('no good image that has room is ever without a holder once a node had it', () => {
    fc.assert(
      fc.property(narrow, fc.array(busy, { maxLength: 60 }), (beginning, steps) => {
        const world = new World(beginning)
        const { driver } = world
        let known = 0
        const each = ({ waiting }: Plan): void => {
          const { losses } = driver.cluster
          for (const loss of losses.slice(known)) {
            const [node = '', reference = ''] = loss.split(' ')
            const item = driver.placed.get(reference)
            if (item === undefined || waiting.has(reference) || world.broken.has(reference))
              continue
            assert.ok(!isMeant(node, item.where ?? '', groundNow(driver)), `lost: ${loss}`)
          }
          known = losses.length
          for (const node of driver.cluster.nodes.keys()) {
            const pods = driver.cluster.shardsOn(node)
            assert.ok(pods <= driver.settings.podsPerNode + 1, `${pods} pods on ${node}`)
          }
        }
        for (const step of steps) world.take(step, each)
        driver.run(300, each)
      }),
      { numRuns: long ? 400 : 25 },
    )
  })

  it('it ends with all held that there is room for, and nothing more to do', () => {
    fc.assert(
      fc.property(narrow, fc.array(busy, { maxLength: 60 }), (beginning, steps) => {
        const world = new World(beginning)
        const { driver } = world
        const { cluster } = driver
        for (const step of steps) world.take(step, () => {})
        world.broken.clear()
        driver.settle(20_000)
        const wanted = driver.placed
        const waiting = driver.last?.waiting ?? new Set<string>()
        const ground = groundNow(driver)
        const held = new Set(
          [...cluster.daemonSets.keys()].flatMap((name) => cluster.members(name)),
        )
        const roomless = overRoom({
          ...{ wanted, held, ground },
          podsPerNode: driver.settings.podsPerNode,
          capacity: (kind) => driver.capacityOf(kind, driver.strategy, 3),
        })
        if (beginning.mixed === true) {
          // What only some nodes are to have is beside the others in one shard, and that may be full.
          const beside = cluster.members('kip-fresh').filter((reference) => wanted.has(reference))
          const most = driver.capacityOf('fresh', driver.strategy, 3)
          assert.ok(waiting.isSubsetOf(roomless) || beside.length >= most, 'what waits')
        } else assert.deepEqual([...waiting].sort(), [...roomless].sort(), 'what waits')
        for (const { reference, where = '' } of wanted.values()) {
          if (waiting.has(reference)) continue
          for (const node of cluster.nodes.keys()) {
            if (!isMeant(node, where, ground)) continue
            assert.ok(cluster.isHeld(node, reference), `${reference} on ${node}`)
          }
        }
        for (const node of cluster.nodes.keys()) {
          assert.ok(cluster.shardsOn(node) <= driver.settings.podsPerNode, `pods on ${node}`)
        }
        const writes = cluster.writes.length
        driver.restart()
        driver.run(300)
        assert.equal(cluster.writes.length, writes, 'a restart changes nothing')
      }),
      { numRuns: long ? 300 : 15 },
    )
  })
})
