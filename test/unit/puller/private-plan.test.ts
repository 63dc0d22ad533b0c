import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { loadSettings } from '../../../src/config/load.ts'
import type { HeldCredential } from '../../../src/puller/credentials.ts'
import type { NodeView } from '../../../src/puller/node-view.ts'
import { benched, blankBench, judge } from '../../../src/puller/private-bench.ts'
import {
  type PrivateImage,
  type PrivatePlan,
  planPrivate,
} from '../../../src/puller/private-plan.ts'
import { mayHoldPrivate, privateLayers } from '../../../src/puller/private-wanted.ts'
import { seededRandom } from '../../support/random.ts'

const credential = (id: string): HeldCredential => ({ id, username: id, password: id })
const image = (reference: string, uses: number, ...ids: readonly string[]): PrivateImage => ({
  reference: `r.test/${reference}`,
  uses,
  credentials: ids.map(credential),
})
const inOrder = ({ layers }: PrivatePlan) =>
  [...layers].sort(([a], [b]) => a - b).map(([, members]) => members)
/** What shards hold, as {@link shown} shows it. */
const heldAs = (...layers: readonly (readonly string[])[]) =>
  new Map(
    layers.map((layer, index) => [
      index + 1,
      new Map(layer.map((one) => [`r.test/${one.split(' ')[0]}`, one.split(' ')[1] ?? ''])),
    ]),
  )
/** The same of a plan that was carried out. */
const heldBy = ({ layers }: PrivatePlan) =>
  new Map(
    [...layers].map(([index, members]) => [
      index,
      new Map(members.map(({ reference, credential }) => [reference, credential.id])),
    ]),
  )
const shown = (
  images: readonly PrivateImage[],
  layers: number,
  capacity: number,
  held: readonly (readonly string[])[] = [],
) => {
  const plan = planPrivate(images, { layers, capacity, held: heldAs(...held) })
  return {
    layers: inOrder(plan).map((layer) =>
      layer.map((one) => `${one.reference.slice('r.test/'.length)} ${one.credential.id}`),
    ),
    waiting: [...plan.waiting].map((one) => one.slice('r.test/'.length)),
  }
}

describe('shards of images that need credentials', () => {
  it('hold an image once for each of its credentials', () => {
    assert.deepEqual(shown([image('a:1', 1, 'x', 'y'), image('b:1', 1, 'y')], 2, 9), {
      layers: [['a:1 x', 'b:1 y'], ['a:1 y']],
      waiting: [],
    })
  })

  it('give each image its first credential before any gets its second, by use', () => {
    assert.deepEqual(shown([image('a:1', 1, 'x', 'y'), image('b:1', 5, 'y', 'z')], 1, 2), {
      layers: [['a:1 x', 'b:1 y']],
      waiting: ['b:1', 'a:1'],
    })
    assert.deepEqual(shown([image('a:1', 1, 'x'), image('b:1', 5, 'y')], 1, 1), {
      layers: [['b:1 y']],
      waiting: ['a:1'],
    })
  })

  it('have one credential of a repository, whatever its tags', () => {
    assert.deepEqual(shown([image('a:1', 1, 'x'), image('a:2', 1, 'y')], 2, 9), {
      layers: [['a:1 x'], ['a:2 y']],
      waiting: [],
    })
  })

  it('name each pair once or as waiting, within bounds, whatever the order', () => {
    const random = seededRandom(7)
    for (let round = 0; round < 300; round++) {
      const pick = (below: number): number => Math.floor(random() * below)
      const images = Array.from({ length: pick(12) }, (_, index) =>
        image(
          `${'abc'[pick(3)]}:${index}`,
          pick(4),
          ...['x', 'y', 'z'].filter(() => random() < 0.6),
        ),
      )
      const capacity = 1 + pick(5)
      const held = heldAs(
        ...Array.from({ length: pick(5) }, () =>
          images
            .filter(() => random() < 0.5)
            .map(({ reference }) => `${reference.slice('r.test/'.length)} ${'wxyz'[pick(4)]}`),
        ),
      )
      const bounds = { layers: pick(4), capacity, fill: capacity - pick(2), held }
      const plan = planPrivate(images, bounds)
      assert.deepEqual(planPrivate(images.toReversed(), bounds), plan)
      const layers = inOrder(plan)
      assert.ok(layers.length <= bounds.layers)
      const pairs = layers.flat().map((one) => `${one.reference} ${one.credential.id}`)
      assert.equal(new Set(pairs).size, pairs.length)
      for (const [index, layer] of plan.layers) {
        assert.ok(held.has(index) || layer.length > 0)
        assert.ok(layer.length <= bounds.capacity)
        assert.equal(new Set(layer.map((one) => one.reference)).size, layer.length)
        const byRepository = new Map<string, string>()
        for (const { reference, credential } of layer) {
          const [repository = ''] = reference.split(':')
          assert.equal(byRepository.get(repository) ?? credential.id, credential.id)
          byRepository.set(repository, credential.id)
        }
      }
      for (const { reference, credentials } of images) {
        // Nobody is let in by a credential that its users did not show.
        const own = new Set(credentials.map(({ id }) => `${reference} ${id}`))
        const placed = pairs.filter((pair) => pair.startsWith(`${reference} `))
        assert.ok(placed.every((pair) => own.has(pair)))
        assert.equal(plan.waiting.has(reference), placed.length < credentials.length)
      }
      // What was left out may find the room of what made way, and then nothing more is to be done.
      const again = planPrivate(images, { ...bounds, held: heldBy(plan) })
      assert.deepEqual(planPrivate(images, { ...bounds, held: heldBy(again) }), again)
    }
  })

  it('stay as they are while uses come and go, until one is used more than twice as much', () => {
    const held = [['app:1 x']]
    const plan = (uses: number) =>
      shown([image('app:1', 3, 'x'), image('app:2', uses, 'y')], 1, 9, held)
    assert.deepEqual(plan(4), { layers: [['app:1 x']], waiting: ['app:2'] })
    assert.deepEqual(plan(8), { layers: [['app:2 y']], waiting: ['app:1'] })
  })

  it('let go of nothing for what is used less than all that would have to go together', () => {
    const images = [image('app:1', 3, 'x'), image('app:2', 3, 'x'), image('app:3', 9, 'y')]
    assert.deepEqual(shown(images, 1, 9, [['app:1 x', 'app:2 x']]).waiting, ['app:3'])
  })

  it('keep an image where it is when the shard before it becomes empty', () => {
    assert.deepEqual(shown([image('b:1', 1, 'y')], 2, 9, [['a:1 x'], ['b:1 y']]), {
      layers: [[], ['b:1 y']],
      waiting: [],
    })
  })

  it('keep an image where it is when its password changes', () => {
    const images = [image('a:1', 1, 'x'), image('b:1', 1, 'z')]
    assert.deepEqual(shown(images, 2, 9, [['a:1 x'], ['b:1 y']]).layers, [['a:1 x'], ['b:1 z']])
  })

  it('keep what they hold when they may be filled less, as more nodes make a roll-out dearer', () => {
    const images = ['a:1', 'b:1', 'c:1', 'd:1'].map((one) => image(one, 1, 'x'))
    const held = heldAs(['a:1 x', 'b:1 x', 'c:1 x'])
    const plan = planPrivate(images, { layers: 1, capacity: 9, fill: 2, held })
    assert.equal(plan.layers.get(1)?.length, 3)
    assert.deepEqual([...plan.waiting], ['r.test/d:1'])
  })

  it('are not undone for a credential that is tried again while another one holds', () => {
    assert.deepEqual(shown([image('a:1', 1, 'x', 'y')], 1, 9, [['a:1 y']]), {
      layers: [['a:1 y']],
      waiting: ['a:1'],
    })
  })
})

describe('a credential that pulls an image nowhere', () => {
  const pace = { judgeMs: 15_000 }
  const tried = { reference: 'r.test/a:1', id: 'x', held: false, failing: true }
  const isOut = (bench: typeof blankBench, now: number) => benched(bench, 'r.test/a:1', 'x', now)

  it('is left out after a while, for twice as long each time, and counted anew when it pulled', () => {
    let bench = judge(blankBench, [tried], 0, pace)
    assert.ok(!isOut(bench, 0))
    bench = judge(bench, [tried], 15_000, pace)
    assert.ok(isOut(bench, 314_999) && !isOut(bench, 315_000))
    bench = judge(judge(bench, [tried], 315_000, pace), [tried], 330_000, pace)
    assert.ok(isOut(bench, 929_999) && !isOut(bench, 930_000))
    bench = judge(bench, [{ ...tried, held: true }], 930_000, pace)
    assert.equal(bench.out.size, 0)
  })

  it('stays while any node has the image by it', () => {
    const some = { ...tried, held: true }
    const bench = judge(judge(blankBench, [some], 0, pace), [some], 60_000, pace)
    assert.ok(!isOut(bench, 60_000))
  })
})

describe('images that need credentials', () => {
  const settings = (env: Readonly<Record<string, string>>) =>
    loadSettings({ argv: [], env, readFile: () => '' }).settings
  const node = (kubelet: string): NodeView => ({
    ...{ name: 'n', labels: {}, taints: [], kubelet, runtime: '', os: 'linux' },
    ...{ architecture: 'amd64', diskBytes: 0, slots: 0, gated: false, created: 0 },
  })

  it('are not held unless somebody asks for it', () => {
    assert.equal(settings({}).puller.privateImages, 'off')
    assert.ok(!mayHoldPrivate(settings({}), [node('v1.35.4')]))
  })

  it('are held where every kubelet checks who uses them, or where the user wants no check', () => {
    const verified = settings({ KIP_PULLER_PRIVATE_IMAGES: 'verified' })
    assert.ok(mayHoldPrivate(verified, [node('v1.35.4'), node('v1.36.0')]))
    assert.ok(!mayHoldPrivate(verified, [node('v1.35.4'), node('v1.34.9')]))
    assert.ok(!mayHoldPrivate(verified, undefined))
    assert.ok(mayHoldPrivate(settings({ KIP_PULLER_PRIVATE_IMAGES: 'all' }), [node('v1.30.0')]))
  })

  it('are not held while a node is kept free for a moment whose kubelet does not check', () => {
    const verified = settings({
      KIP_PULLER_PRIVATE_IMAGES: 'verified',
      NODE_SELECTOR: '{"pool":"a"}',
    })
    const late = (labels: Readonly<Record<string, string>>): NodeView => ({
      ...node('v1.34.9'),
      ...{ labels, taints: [{ key: 'node.cilium.io/agent-not-ready', effect: 'NoSchedule' }] },
    })
    assert.ok(!mayHoldPrivate(verified, [late({ pool: 'a' })]))
    assert.ok(mayHoldPrivate(verified, [late({ pool: 'b' })]))
  })

  it('have the pods of a node that all else can spare', () => {
    const layers = (pods: string) => privateLayers(settings({ KIP_PULLER_PODS_PER_NODE: pods }))
    assert.deepEqual(['2', '3', '4', '6'].map(layers), [0, 0, 1, 3])
  })
})
