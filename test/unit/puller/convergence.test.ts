import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { nodesOf } from '../../../src/puller/node-status.ts'
import { Driver, pullerSettings, want } from './driver.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const no = (): boolean => false

const images = (count: number, prefix = 'r.test/image'): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}-${String(index).padStart(3, '0')}:1`)

function start(nodes: number, ...references: readonly string[]): Driver {
  const names = Array.from({ length: nodes }, (_, index) => `n${index + 1}`)
  const driver = new Driver(new SimulatedCluster(names))
  driver.wanted = want(...references)
  return driver
}

function heldEverywhere({ cluster }: Driver, reference: string): boolean {
  return [...cluster.nodes.keys()].every((node) => cluster.isHeld(node, reference))
}

describe('the way of an image', () => {
  it('leads through the fresh shard into the holding one, which alone remains', () => {
    const driver = start(3, 'r.test/a:1', 'r.test/b:1')
    driver.settle()
    assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip'])
    assert.deepEqual(driver.cluster.members('kip'), ['r.test/a:1', 'r.test/b:1'])
    assert.ok(heldEverywhere(driver, 'r.test/a:1'))
    assert.deepEqual(driver.cluster.losses, [])
  })

  it('asks the nodes for what is new within two seconds', () => {
    const driver = start(2, 'r.test/a:1')
    driver.run(2)
    assert.deepEqual(driver.cluster.members('kip-fresh'), ['r.test/a:1'])
  })

  it('keeps a fresh image until the holding shard is ready with it on every node', () => {
    const driver = start(8, ...images(4))
    driver.settle()
    driver.wanted = want(...images(6))
    let overlapped = false
    driver.run(300, ({ changes, seen }) => {
      const holds = seen.shards.find(({ kind }) => kind === 'holding')
      if (changes.some(({ name, removed }) => name === 'kip-fresh' && removed.length > 0)) {
        assert.ok(holds !== undefined && seen.isSettled(holds))
      }
      const fresh = driver.cluster.members('kip-fresh')
      const holding = driver.cluster.members('kip')
      if (fresh.length > 0 && holding.length === 6) overlapped = true
    })
    assert.ok(overlapped)
    assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip'])
    assert.deepEqual(driver.cluster.losses, [])
  })

  it('does not wait for a slow pull to ask for what came after it', () => {
    const driver = start(2, 'r.test/slow:1')
    driver.cluster.pullTicks = (reference) => (reference === 'r.test/slow:1' ? 100 : 1)
    driver.run(10)
    driver.wanted = want('r.test/slow:1', 'r.test/quick:1')
    driver.run(10)
    assert.ok(heldEverywhere(driver, 'r.test/quick:1'))
    assert.ok(!heldEverywhere(driver, 'r.test/slow:1'))
    assert.deepEqual(driver.cluster.writes, ['kip-fresh', 'kip-fresh-2'])
  })

  for (const bestEffort of [true, false]) {
    const which = bestEffort ? 'the first original name' : 'the first image of one architecture'
    it(`asks at once for what goes to a shard that is there, while ${which} is slow to pull`, () => {
      const slow = { reference: 'r.test/slow:1', bestEffort }
      const driver = start(2, 'r.test/a:1')
      driver.cluster.addNode('a1', 'arm64')
      driver.cluster.pullTicks = (reference) => (reference === slow.reference ? 100 : 1)
      if (!bestEffort) driver.platforms.set(slow.reference, ['linux/amd64'])
      driver.settle()
      driver.wanted = want('r.test/a:1', slow)
      driver.run(10)
      driver.wanted = want('r.test/a:1', slow, 'r.test/quick:1')
      driver.run(10)
      assert.ok(heldEverywhere(driver, 'r.test/quick:1'))
      assert.ok(!driver.cluster.isHeld('n1', slow.reference))
      driver.run(400, ({ seen }) => assert.ok(seen.shards.length <= 3))
      assert.ok(driver.cluster.isHeld('n1', slow.reference))
      assert.deepEqual([...driver.cluster.daemonSets.keys()].sort(), [
        'kip',
        bestEffort ? 'kip-originals' : 'kip-amd64',
      ])
    })
  }

  describe('with two nodes that may pull at once', () => {
    const pulling = (driver: Driver, reference: string): number =>
      driver.cluster
        .pods()
        .filter(({ spec }) => (spec?.containers ?? []).some(({ image }) => image === reference))
        .filter(({ status }) => status?.phase === 'Pending').length
    const begin = (): Driver => {
      const driver = start(6, 'r.test/slow:1')
      driver.settings = { ...pullerSettings, nodesAtOnce: 2 }
      driver.cluster.pullTicks = (reference) => (reference === 'r.test/slow:1' ? 20 : 5)
      driver.run(30)
      driver.wanted = want('r.test/slow:1', 'r.test/next:1')
      return driver
    }

    it('asks so many for what joins a fresh shard, and comes to all', () => {
      const driver = begin()
      let most = 0
      driver.run(90, () => {
        most = Math.max(most, pulling(driver, 'r.test/next:1'))
      })
      assert.equal(most, 2)
      driver.settle()
      assert.ok(heldEverywhere(driver, 'r.test/next:1'))
      assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip'])
    })

    it('lets nobody wait for a bad image', () => {
      const driver = begin()
      driver.cluster.behave = (reference) => (reference === 'r.test/next:1' ? 'missing' : 'good')
      driver.wanted = want('r.test/slow:1', 'r.test/next:1', 'r.test/good:1')
      driver.run(200)
      assert.ok(heldEverywhere(driver, 'r.test/good:1'))
      assert.ok(heldEverywhere(driver, 'r.test/slow:1'))
      assert.deepEqual(driver.cluster.members('kip-apart'), ['r.test/next:1'])
    })
  })

  for (const [strategy, count, tried] of [
    ['volume', 60, 60],
    ['volume', 110, 110],
    ['volume', 320, 0],
  ] as const) {
    it(`ends for ${count} images and ${tried} original names that come at once, under ${strategy}`, () => {
      const driver = start(1)
      driver.strategy = strategy
      driver.cluster.pullTicks = () => 0
      const originals = images(tried, 'r.test/original').map((reference) => ({
        reference,
        bestEffort: true,
      }))
      driver.wanted = want(...images(count), ...originals)
      driver.run(900, ({ seen }) => assert.ok(seen.shards.length <= 3))
      const { cluster } = driver
      const held = [...cluster.daemonSets.keys()].flatMap((name) => cluster.members(name))
      assert.equal(held.length, count + tried)
      assert.equal(driver.last?.waiting.size, 0)
      assert.ok(![...cluster.daemonSets.keys()].some((name) => name.includes('fresh')))
    })
  }

  it('opens another holding shard when one is full', () => {
    const driver = start(2, ...images(230))
    driver.settings = { ...pullerSettings, podsPerNode: 4 }
    // A chain of a hundred takes longer to roll than others are quiet.
    driver.run(1500)
    assert.deepEqual([...driver.cluster.daemonSets.keys()].sort(), ['kip', 'kip-2', 'kip-3'])
    assert.deepEqual(
      ['kip', 'kip-2', 'kip-3'].map((name) => driver.cluster.members(name).length),
      [100, 100, 30],
    )
    assert.deepEqual(driver.cluster.losses, [])
  })

  describe('with images spread over two shards', () => {
    const spread = (count: number, podsPerNode = 3): Driver => {
      const driver = start(2, ...images(count))
      driver.settings = { ...pullerSettings, podsPerNode }
      driver.spread = 2
      driver.pace = { ...driver.pace, compactMs: 300_000 }
      driver.settle()
      return driver
    }
    const sizes = (driver: Driver): Readonly<Record<string, number>> =>
      Object.fromEntries(
        [...driver.cluster.daemonSets.keys()]
          .sort()
          .map((name) => [name, driver.cluster.members(name).length]),
      )

    it('has each hold half of them, however long all is quiet', () => {
      const driver = spread(20)
      assert.deepEqual(sizes(driver), { kip: 10, 'kip-2': 10 })
      driver.run(400)
      assert.deepEqual(sizes(driver), { kip: 10, 'kip-2': 10 })
      assert.deepEqual(driver.cluster.losses, [])
    })

    it('leaves so few in one that a second pod would not pay', () => {
      assert.deepEqual(sizes(spread(9)), { kip: 9 })
    })

    it('adds to the smaller one, and changes no other', () => {
      const driver = spread(20)
      driver.wanted = want(...images(20).slice(0, 18), 'r.test/late:1', 'r.test/later:1')
      driver.settle()
      driver.cluster.writes.length = 0
      driver.wanted = want(...driver.wanted.keys(), 'r.test/last:1')
      driver.settle()
      assert.equal(new Set(driver.cluster.writes.filter((name) => !name.includes('fresh'))).size, 1)
      const { kip = 0, 'kip-2': second = 0 } = sizes(driver)
      assert.equal(kip + second, 21)
      assert.ok(Math.abs(kip - second) <= 1)
    })

    it('opens the second where an image that fails has taken its pod, once that is well', () => {
      const driver = start(2, ...images(20), 'r.test/bad:1')
      driver.spread = 2
      driver.cluster.behave = (reference) => (reference === 'r.test/bad:1' ? 'missing' : 'good')
      driver.settle()
      const held = sizes(driver)
      assert.equal((held.kip ?? 0) + (held['kip-2'] ?? 0), 20)
      assert.equal(held['kip-apart'], 1)
      assert.ok(Object.keys(held).length <= 3)
    })

    it('puts them together at once when original names need a pod for good', () => {
      const driver = spread(20)
      const originals = ['r.test/o1:1', 'r.test/o2:1'].map((reference) => ({
        reference,
        bestEffort: true,
      }))
      driver.wanted = want(...images(20), ...originals)
      driver.run(250)
      assert.deepEqual(sizes(driver), { kip: 20, 'kip-originals': 2 })
      assert.deepEqual(driver.cluster.losses, [])
    })

    it('also when the original name comes while the fresh shard is being filled', () => {
      const names = Array.from({ length: 14 }, (_, index) => `r.test/base${index}:1`)
      const driver = start(3, ...names)
      driver.strategy = 'init'
      driver.spread = 2
      driver.cluster.pullTicks = (reference) => (reference === 'r.test/base5:1' ? 30 : 1)
      driver.run(51)
      driver.wanted = want(...names).set('r.test/o:1', {
        reference: 'r.test/o:1',
        bestEffort: true,
      })
      driver.settle(20_000)
      assert.deepEqual(sizes(driver), { kip: 14, 'kip-originals': 1 })
      assert.deepEqual(driver.cluster.losses, [])
    })
  })

  describe('with half-empty shards', () => {
    const part = (count: number, each: number): readonly string[] =>
      images(count).filter((_, index) => index % 50 < each)
    /** Shards of 50 each, of which so many are wanted no more. */
    const emptied = (count: number, each: number): Driver => {
      const driver = start(2, ...images(count))
      driver.settings = { ...pullerSettings, podsPerNode: 4 }
      driver.strategy = 'sleep'
      driver.pace = { ...driver.pace, compactMs: 300_000 }
      driver.settle()
      driver.wanted = want(...part(count, each))
      driver.run(90)
      return driver
    }
    const sizes = (driver: Driver): readonly number[] =>
      [...driver.cluster.daemonSets.keys()]
        .sort()
        .map((name) => driver.cluster.members(name).length)

    it('puts them together when all has been quiet for long', () => {
      const driver = emptied(150, 22)
      assert.deepEqual(sizes(driver), [22, 22, 22], 'not at once')
      driver.restart()
      driver.run(400, ({ seen }) => assert.ok(seen.shards.length <= 3, 'none is made for it'))
      assert.deepEqual(sizes(driver), [44, 22])
      const lost = driver.cluster.losses.map((loss) => loss.split(' ')[1] ?? '')
      assert.ok(lost.every((reference) => !driver.wanted.has(reference)))
      driver.wanted = want(...driver.wanted.keys(), 'r.test/late:1')
      driver.run(400)
      assert.deepEqual(sizes(driver), [45, 22], 'one more opens no other')
    })

    it('leaves them where what is left would be nearly full', () => {
      const driver = emptied(100, 23)
      driver.run(400)
      assert.deepEqual(sizes(driver), [23, 23])
    })
  })

  it('ends when nobody wants the image, and takes the shards along when nothing is wanted', () => {
    const driver = start(2, 'r.test/a:1', 'r.test/b:1')
    driver.settle()
    driver.wanted = want('r.test/b:1')
    driver.settle()
    assert.deepEqual(driver.cluster.members('kip'), ['r.test/b:1'])
    driver.wanted = want()
    driver.settle()
    assert.deepEqual([...driver.cluster.daemonSets.keys()], [])
  })

  it('keeps an old version until the new one is where it is to stay', () => {
    const driver = start(2, 'r.test/a@sha256:1')
    driver.settle()
    driver.cluster.pullTicks = () => 200
    driver.wanted = want('r.test/a@sha256:2')
    driver.run(190)
    assert.ok(heldEverywhere(driver, 'r.test/a@sha256:1'))
    driver.settle()
    assert.deepEqual(driver.cluster.members('kip'), ['r.test/a@sha256:2'])
  })

  it('holds best-effort names apart from the others', () => {
    const driver = start(2, 'r.test/a:1')
    driver.wanted = want('r.test/a:1', { reference: 'r.test/orig:1', bestEffort: true })
    driver.settle()
    assert.deepEqual(driver.cluster.members('kip'), ['r.test/a:1'])
    assert.deepEqual(driver.cluster.members('kip-originals'), ['r.test/orig:1'])
    driver.wanted = want('r.test/b:1', { reference: 'r.test/a:1', bestEffort: true })
    driver.settle()
    assert.deepEqual(driver.cluster.members('kip'), ['r.test/b:1'])
    assert.deepEqual(driver.cluster.members('kip-originals'), ['r.test/a:1'])
    assert.deepEqual(
      driver.cluster.losses.filter((loss) => !loss.endsWith('orig:1')),
      [],
    )
  })

  it('goes the same way under the strategy volume, with the failing image named', () => {
    const driver = start(3, ...images(60), 'r.test/bad:1')
    driver.strategy = 'volume'
    driver.cluster.behave = (reference) => (reference === 'r.test/bad:1' ? 'missing' : 'good')
    driver.settle()
    assert.equal(driver.cluster.members('kip').length, 60)
    assert.deepEqual(driver.cluster.members('kip-apart'), ['r.test/bad:1'])
    assert.deepEqual(driver.cluster.losses, [])
    // A holder that mounts sixty images tells of the one that a new node cannot pull.
    driver.cluster.behave = (reference, node) =>
      reference === 'r.test/bad:1' || (reference === 'r.test/image-007:1' && node === 'n4')
        ? 'missing'
        : 'good'
    driver.cluster.addNode('n4')
    driver.settle()
    assert.deepEqual(driver.cluster.members('kip-apart'), ['r.test/bad:1', 'r.test/image-007:1'])
    assert.ok(driver.cluster.isHeld('n4', 'r.test/image-059:1'))
    assert.deepEqual(
      (driver.cluster.losses as readonly string[]).filter((loss) => !loss.startsWith('n4')),
      [],
    )
  })

  it('changes from one strategy to another without losing an image', () => {
    const driver = start(3, ...images(30), 'r.test/bad:1')
    driver.cluster.behave = (reference) => (reference === 'r.test/bad:1' ? 'missing' : 'good')
    driver.settle()
    for (const strategy of ['volume', 'sleep', 'volume', 'init'] as const) {
      driver.strategy = strategy
      driver.settle()
      assert.equal(driver.cluster.members('kip').length, 30)
      assert.deepEqual(driver.cluster.losses, [])
    }
  })

  it('waits for room where nodes may have no more pods, the least used first', () => {
    const driver = start(2)
    driver.settings = { ...pullerSettings, podsPerNode: 2 }
    driver.wanted = want(
      ...images(170).map((reference, index) => ({ reference, bestEffort: false, uses: index })),
    )
    driver.run(1000, ({ seen }) => assert.ok(seen.shards.length <= 2))
    assert.deepEqual(driver.cluster.members('kip'), images(170).slice(70))
    assert.deepEqual(driver.cluster.members('kip-fresh'), images(170).slice(21, 70))
    assert.deepEqual([...driver.round().waiting].sort(), images(21))
    // What leaves makes room.
    driver.wanted = want(...images(160))
    driver.run(600)
    assert.equal(driver.round().waiting.size, 11)
    const lost = driver.cluster.losses.map((loss) => loss.split(' ')[1] ?? '')
    assert.ok(lost.every((reference) => !driver.wanted.has(reference)))
  })

  it('gives new versions the room of the old ones where there is no other', () => {
    const driver = start(1)
    driver.settings = { ...pullerSettings, podsPerNode: 2 }
    driver.strategy = 'sleep'
    driver.cluster.pullTicks = () => 0
    const versions = (updated: number): readonly string[] =>
      images(70).map((name, index) => (index < updated ? name.replace(/1$/, '2') : name))
    driver.wanted = want(...versions(0))
    driver.run(300)
    driver.wanted = want(...versions(40))
    driver.run(900)
    for (const reference of versions(40)) assert.ok(heldEverywhere(driver, reference), reference)
    assert.equal(driver.last?.waiting.size, 0)
  })

  for (const [symptom, uses, tagged] of [
    ['gives what is used far more the room of what is used least', 20, false],
    ['gives a tag the room of another one of its repository', 20, true],
    ['does not exchange what is held for what is used a little more', 3, false],
  ] as const) {
    it(symptom, () => {
      const driver = start(2)
      driver.settings = { ...pullerSettings, podsPerNode: 2 }
      driver.strategy = 'sleep'
      const held = tagged
        ? Array.from({ length: 99 }, (_, index) => `r.test/one:${1000 + index}`)
        : images(99)
      const least = held[30] ?? ''
      const set = held.map((reference) => ({
        reference,
        bestEffort: false,
        uses: reference === least ? 1 : 9,
      }))
      driver.wanted = want(...set)
      driver.run(300)
      assert.equal(driver.round().waiting.size, 0)
      const late = tagged ? 'r.test/one:late' : 'r.test/late:1'
      driver.wanted = want(...set, { reference: late, bestEffort: false, uses })
      driver.run(300, ({ seen }) => assert.ok(seen.shards.length <= 2))
      const [loser, winner] = uses === 20 ? [least, late] : [late, least]
      assert.deepEqual([...driver.round().waiting], [loser])
      assert.ok(heldEverywhere(driver, winner))
      const lost = (): readonly string[] =>
        [...new Set(driver.cluster.losses.map((loss) => loss.split(' ')[1] ?? ''))].sort()
      assert.deepEqual(lost(), [], 'it stays while nothing new needs its place')
      if (loser === least) {
        const next = 'r.test/next:1'
        driver.wanted = want(...driver.wanted.values(), {
          reference: next,
          bestEffort: false,
          uses,
        })
        driver.run(300)
        assert.ok(heldEverywhere(driver, next))
        assert.deepEqual(lost(), [least])
      }
      const writes = driver.cluster.writes.length
      driver.restart()
      driver.run(300)
      assert.equal(driver.cluster.writes.length, writes, 'and that is all')
    })
  }

  it('goes the same way under the strategy sleep', () => {
    const driver = start(3, ...images(60), 'r.test/bad:1')
    driver.settings = { ...pullerSettings, podsPerNode: 4 }
    driver.strategy = 'sleep'
    driver.cluster.behave = (reference) => (reference === 'r.test/bad:1' ? 'missing' : 'good')
    driver.settle()
    assert.deepEqual(
      ['kip', 'kip-2', 'kip-apart'].map((name) => driver.cluster.members(name).length),
      [50, 10, 1],
    )
    assert.deepEqual(driver.cluster.losses, [])
  })
})

describe('a tag that moves', () => {
  const tag = 'r.test/tag:1'
  const others = images(5)

  for (const strategy of ['init', 'volume', 'sleep'] as const) {
    it(`is pulled anew beside what is held, and then held as it is now, under ${strategy}`, () => {
      const driver = start(3, ...others)
      const { cluster } = driver
      driver.strategy = strategy
      const at = (digest: string): void => {
        cluster.registry.set(tag, digest)
        driver.wanted = want(...others, { reference: tag, bestEffort: false, digest })
      }
      at('one')
      driver.settle()
      const writes = cluster.writes.length
      at('two')
      let without = 0
      driver.run(400, () => {
        for (const node of cluster.nodes.keys()) {
          if (cluster.digestsOn(node, tag).length === 0) without += 1
        }
      })
      assert.equal(without, 0)
      assert.deepEqual(cluster.losses, [])
      assert.deepEqual(cluster.writes.slice(writes), ['kip-refresh', 'kip', '-kip-refresh'])
      for (const node of cluster.nodes.keys()) {
        assert.deepEqual(cluster.digestsOn(node, tag), ['two'])
      }
      driver.restart()
      driver.run(300)
      assert.equal(cluster.writes.length, writes + 3)
    })
  }

  it('is followed while more images fail than are set apart', () => {
    const bad = images(210, 'r.test/bad')
    const driver = start(1, ...bad)
    const { cluster } = driver
    driver.settings = { ...pullerSettings, podsPerNode: 4 }
    cluster.behave = (reference) => (bad.includes(reference) ? 'missing' : 'good')
    const at = (digest: string): void => {
      cluster.registry.set(tag, digest)
      driver.wanted = want(...bad, { reference: tag, bestEffort: false, digest })
    }
    at('one')
    driver.run(60)
    assert.deepEqual(cluster.members('kip'), [tag])
    assert.ok(cluster.members('kip-fresh-2').length > 0)
    at('two')
    driver.run(40)
    assert.ok(cluster.digestsOn('n1', tag).includes('two'))
    assert.deepEqual(cluster.members('kip-refresh'), [])
    assert.ok(!cluster.losses.includes(`n1 ${tag}`))
  })

  it('stays as it was while its registry is down, and is followed as often as it moves', () => {
    const driver = start(2, tag)
    const { cluster } = driver
    const at = (digest: string): void => {
      cluster.registry.set(tag, digest)
      driver.wanted = want({ reference: tag, bestEffort: false, digest })
    }
    at('one')
    driver.settle()
    cluster.behave = () => 'missing'
    at('two')
    driver.run(60)
    at('three')
    driver.run(60)
    assert.deepEqual(cluster.digestsOn('n1', tag), ['one'])
    assert.deepEqual(cluster.members('kip'), [tag])
    cluster.behave = () => 'good'
    driver.run(300)
    assert.deepEqual(cluster.digestsOn('n1', tag), ['three'])
    assert.deepEqual([...cluster.daemonSets.keys()], ['kip'])
    assert.deepEqual(cluster.losses, [])
  })

  /** Moves the tag, which is an original, beside an image that is held and others. */
  function moving(driver: Driver) {
    return (digest: string, ...others: readonly string[]): void => {
      driver.cluster.registry.set(tag, digest)
      const original = { reference: tag, bestEffort: true, digest }
      driver.wanted = want('r.test/a:1', ...others, original)
    }
  }

  it('keeps no new image waiting while a node cannot pull what it is now', () => {
    const driver = start(2)
    const { cluster } = driver
    const at = moving(driver)
    at('one')
    driver.settle()
    cluster.behave = (reference, node) => (reference === tag && node === 'n1' ? 'missing' : 'good')
    at('two')
    driver.run(60)
    at('two', 'r.test/new:1')
    driver.run(10, ({ seen }) => assert.ok(seen.shards.length <= 3))
    assert.ok(heldEverywhere(driver, 'r.test/new:1'))
    cluster.behave = () => 'good'
    driver.settle()
    assert.deepEqual(cluster.digestsOn('n1', tag), ['two'])
    assert.deepEqual(cluster.losses, [])
  })

  it('keeps no new image waiting while a node has no room for what rolls', () => {
    const driver = start(2)
    const { cluster } = driver
    const at = moving(driver)
    at('one')
    driver.settle()
    const pods = cluster.pods.bind(cluster)
    cluster.pods = () => pods().filter((pod) => pod.spec?.nodeName !== 'n3')
    cluster.addNode('n3')
    driver.run(700)
    cluster.behave = (reference, node) => (reference === tag && node === 'n1' ? 'missing' : 'good')
    at('two')
    driver.run(700)
    at('two', 'r.test/new:1')
    driver.run(30)
    for (const node of ['n1', 'n2']) assert.ok(cluster.isHeld(node, 'r.test/new:1'))
  })

  it('is noted without touching a pod when it was not known before', () => {
    const driver = start(2, tag)
    driver.settle()
    const { cluster } = driver
    const generation = cluster.daemonSets.get('kip')?.metadata?.generation
    driver.wanted = want({ reference: tag, bestEffort: false, digest: 'one' })
    driver.settle()
    assert.equal(cluster.daemonSets.get('kip')?.metadata?.generation, generation)
    assert.deepEqual([...cluster.daemonSets.keys()], ['kip'])
  })
})

describe('nodes of several architectures', () => {
  const amd = 'r.test/amd:1'
  const arm = 'r.test/arm:1'

  function mixed(...references: readonly string[]): Driver {
    const driver = start(2, amd, arm, ...references)
    driver.cluster.addNode('a1', 'arm64')
    driver.platforms.set(amd, ['linux/amd64'])
    driver.platforms.set(arm, ['linux/arm64/v8', 'unknown/unknown'])
    driver.cluster.behave = (reference, node) => {
      const architecture = driver.cluster.nodes.get(node)?.architecture
      if (reference === amd && architecture !== 'amd64') return 'missing'
      return reference === arm && architecture !== 'arm64' ? 'missing' : 'good'
    }
    return driver
  }

  it('are not asked for what they cannot run', () => {
    const driver = mixed(...images(5))
    driver.run(400, () => {
      for (const name of driver.cluster.daemonSets.keys()) assert.ok(!name.includes('apart'), name)
    })
    assert.deepEqual([...driver.cluster.daemonSets.keys()].sort(), [
      'kip',
      'kip-amd64',
      'kip-arm64',
    ])
    assert.deepEqual(driver.cluster.members('kip-arm64'), [arm])
    assert.ok(driver.cluster.isHeld('n1', amd) && driver.cluster.isHeld('n2', amd))
    assert.ok(driver.cluster.isHeld('a1', arm))
    assert.deepEqual(driver.cluster.losses, [])
    const { seen } = driver.round()
    assert.deepEqual(nodesOf([arm], seen, undefined, no), {
      desired: 1,
      cached: 1,
      pulling: 0,
      failed: 0,
      failures: [],
    })
  })

  it('wait for no image of one of them that cannot be pulled', () => {
    const driver = start(2, 'r.test/a:1')
    driver.cluster.addNode('a1', 'arm64')
    driver.platforms.set(amd, ['linux/amd64'])
    driver.cluster.behave = (reference) => (reference === amd ? 'missing' : 'good')
    driver.settle()
    driver.wanted = want('r.test/a:1', amd)
    driver.run(60)
    driver.wanted = want('r.test/a:1', amd, 'r.test/new:1')
    driver.run(60)
    assert.ok(heldEverywhere(driver, 'r.test/new:1'))
  })

  for (const strategy of ['init', 'volume'] as const) {
    it(`that join later take nothing from those that are there, under ${strategy}`, () => {
      const driver = mixed(...images(5))
      driver.strategy = strategy
      driver.cluster.removeNode('a1')
      driver.settle()
      assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip'])
      assert.deepEqual(driver.cluster.members('kip'), [amd, ...images(5)])
      driver.cluster.addNode('a1', 'arm64')
      driver.settle()
      assert.deepEqual(driver.cluster.members('kip'), images(5))
      assert.deepEqual(driver.cluster.members('kip-amd64'), [amd])
      assert.deepEqual(driver.cluster.members('kip-arm64'), [arm])
      assert.ok(driver.cluster.isHeld('a1', images(5)[4] ?? ''))
      assert.deepEqual(
        (driver.cluster.losses as readonly string[]).filter((loss) => !loss.startsWith('a1')),
        [],
      )
      // And go again: what is for all that are left need not move.
      driver.cluster.removeNode('a1')
      const writes = driver.cluster.writes.length
      driver.settle()
      assert.deepEqual(driver.cluster.writes.slice(writes), ['-kip-arm64'])
    })
  }
})

describe('a bad image', () => {
  it('stops none of the others and is set apart, with its nodes and reasons told', () => {
    const driver = start(2, ...images(19), 'r.test/bad:1')
    driver.cluster.behave = (reference) => (reference === 'r.test/bad:1' ? 'missing' : 'good')
    driver.settle()
    assert.equal(driver.cluster.members('kip').length, 19)
    assert.deepEqual(driver.cluster.members('kip-apart'), ['r.test/bad:1'])
    assert.deepEqual([...driver.cluster.daemonSets.keys()].sort(), ['kip', 'kip-apart'])
    assert.deepEqual(driver.cluster.losses, [])
    const { seen } = driver.round()
    const message = 'the registry does not have it'
    assert.deepEqual(nodesOf(['r.test/bad:1'], seen, undefined, no), {
      desired: 2,
      cached: 0,
      pulling: 0,
      failed: 2,
      failures: [
        { node: 'n1', reason: 'ErrImagePull', message },
        { node: 'n2', reason: 'ErrImagePull', message },
      ],
    })
    assert.equal(nodesOf(['r.test/image-000:1'], seen, undefined, no).cached, 2)
  })

  for (const podsPerNode of [2, 3]) {
    it(`keeps no other from nodes that may have ${podsPerNode} pods, however many came first`, () => {
      const bad = Array.from({ length: 129 }, (_, index) => `r.test/bad-${index}:1`)
      const driver = start(1, ...bad, ...images(20))
      driver.settings = { ...pullerSettings, podsPerNode }
      driver.cluster.behave = (reference) => (reference.includes('bad') ? 'missing' : 'good')
      driver.run(300)
      assert.deepEqual(driver.cluster.members('kip'), images(20))
      const lost = driver.cluster.losses.filter((loss) => loss.includes('r.test/'))
      assert.deepEqual(lost, [])
    })
  }

  for (const trouble of ['missing', 'unstartable'] as const) {
    it(`that is ${trouble} and joins what is on its way keeps no later one waiting`, () => {
      const names = ['r.test/a:1', 'r.test/good:1', 'r.test/bad:1']
      const original = { reference: 'r.test/original:1', bestEffort: true }
      const driver = start(2)
      driver.cluster.behave = (reference) => (reference === 'r.test/bad:1' ? trouble : 'good')
      driver.wanted = want(original, ...names.slice(0, 1))
      driver.settle()
      // The pods that it joins are ready: they stay beside the new ones, which never get there.
      for (const count of [2, 3]) {
        driver.wanted = want(original, ...names.slice(0, count))
        driver.run(6)
      }
      driver.run(60)
      for (const late of ['r.test/late-1:1', 'r.test/late-2:1']) {
        names.push(late)
        driver.wanted = want(original, ...names)
        driver.run(20, ({ seen }) => assert.ok(seen.shards.length <= 3))
        assert.ok(heldEverywhere(driver, late), late)
      }
      const lost = driver.cluster.losses.filter((loss) => !loss.endsWith('bad:1'))
      assert.deepEqual(lost, [])
    })
  }

  it('returns when it pulls', () => {
    const driver = start(2, 'r.test/a:1', 'r.test/bad:1')
    driver.cluster.behave = (reference) => (reference === 'r.test/bad:1' ? 'missing' : 'good')
    driver.settle()
    driver.cluster.behave = () => 'good'
    driver.settle()
    assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip'])
    assert.deepEqual(driver.cluster.members('kip'), ['r.test/a:1', 'r.test/bad:1'])
    assert.deepEqual(driver.cluster.losses, [])
  })

  it('that only the runtime cannot start counts as cached, and never enters a chain', () => {
    const driver = start(2, 'r.test/a:1', 'r.test/odd:1')
    driver.cluster.behave = (reference) => (reference === 'r.test/odd:1' ? 'unstartable' : 'good')
    driver.run(400, () => {
      assert.ok(!driver.cluster.members('kip').includes('r.test/odd:1'))
    })
    assert.deepEqual(driver.cluster.members('kip'), ['r.test/a:1'])
    const status = nodesOf(['r.test/odd:1'], driver.round().seen, undefined, no)
    assert.deepEqual(status, { desired: 2, cached: 2, pulling: 0, failed: 0, failures: [] })
  })

  it('that goes bad for a new node leaves the chain, but no node that has it', () => {
    const driver = start(2, ...images(10))
    driver.settle()
    driver.cluster.behave = (reference, node) =>
      reference === 'r.test/image-004:1' && node === 'n3' ? 'missing' : 'good'
    driver.cluster.addNode('n3')
    driver.settle()
    assert.equal(driver.cluster.members('kip').length, 9)
    assert.deepEqual(driver.cluster.members('kip-apart'), ['r.test/image-004:1'])
    for (const node of ['n1', 'n2']) assert.ok(driver.cluster.isHeld(node, 'r.test/image-004:1'))
    assert.ok(driver.cluster.isHeld('n3', 'r.test/image-009:1'))
    assert.deepEqual(
      driver.cluster.losses.filter((loss) => !loss.startsWith('n3')),
      [],
    )
  })

  it('leaves the chain as soon as what is on its way, and has the last pod, can be changed', () => {
    const [gone = '', ...others] = images(3)
    const original = { reference: 'r.test/original:1', bestEffort: true }
    const driver = start(1)
    driver.cluster.pullTicks = (reference) => (reference === 'r.test/slow:1' ? 60 : 0)
    driver.wanted = want(gone, ...others, original)
    driver.settle()
    driver.wanted = want(gone, ...others, original, 'r.test/slow:1')
    driver.run(5)
    driver.cluster.behave = (reference, node) =>
      reference === gone && node === 'n3' ? 'missing' : 'good'
    driver.cluster.addNode('n3')
    driver.run(300, ({ seen }) => assert.ok(seen.shards.length <= 3))
    for (const reference of others) assert.ok(heldEverywhere(driver, reference), reference)
    assert.ok(driver.cluster.isHeld('n1', gone))
  })

  it('leaves the chain where no shard is left but that of one that cannot be started', () => {
    const [gone = '', ...others] = images(5)
    const original = { reference: 'r.test/original:1', bestEffort: true }
    const driver = start(2)
    driver.wanted = want(gone, ...others, original)
    driver.settle()
    driver.cluster.behave = (reference) => (reference === 'r.test/odd:1' ? 'unstartable' : 'good')
    driver.wanted = want(gone, ...others, original, 'r.test/odd:1')
    driver.settle()
    driver.cluster.behave = (reference, node) => {
      if (reference === 'r.test/odd:1') return 'unstartable'
      return reference === gone && node === 'n3' ? 'missing' : 'good'
    }
    driver.cluster.addNode('n3')
    driver.run(120, ({ seen }) => assert.ok(seen.shards.length <= 3))
    for (const reference of others) assert.ok(heldEverywhere(driver, reference), reference)
    for (const node of ['n1', 'n2']) assert.ok(driver.cluster.isHeld(node, gone))
    assert.deepEqual(
      driver.cluster.losses.filter((loss) => !loss.startsWith('n3') && !loss.endsWith('odd:1')),
      [],
    )
  })

  it('joins those set apart while their good copies stay held', () => {
    const driver = start(3, ...images(6), 'r.test/bad:1')
    const bad = new Set(['r.test/bad:1'])
    driver.cluster.behave = (reference, node) => {
      if (reference === 'r.test/image-000:1') return node === 'n3' ? 'missing' : 'good'
      return bad.has(reference) ? 'missing' : 'good'
    }
    driver.settle()
    assert.ok(driver.cluster.isHeld('n1', 'r.test/image-000:1'))
    for (const next of ['r.test/late-1:1', 'r.test/late-2:1', 'r.test/late-3:1']) {
      bad.add(next)
      driver.wanted = want(...driver.wanted.keys(), next)
      driver.settle()
    }
    assert.equal(driver.cluster.members('kip').length, 5)
    const apart = [...driver.cluster.daemonSets.keys()].filter((name) => name.includes('apart'))
    assert.equal(apart.length, 1)
    assert.deepEqual(driver.cluster.losses, [])
  })
})

describe('trouble', () => {
  it('of a whole registry does not take the holding shard to pieces for a new node', () => {
    const driver = start(2, ...images(50))
    driver.settle()
    driver.cluster.behave = () => 'missing'
    driver.cluster.addNode('n3')
    // The sleep program's image is there: only the images' registry is down.
    driver.cluster.nodes.get('n3')?.images.add(pullerSettings.sleepImage)
    const before = driver.cluster.writes.length
    driver.run(3600)
    assert.ok(driver.cluster.members('kip').length >= 44)
    assert.ok(driver.cluster.writes.length - before < 40, String(driver.cluster.writes.length))
    for (const reference of images(50)) {
      assert.ok(driver.cluster.isHeld('n1', reference) && driver.cluster.isHeld('n2', reference))
    }
    driver.cluster.behave = () => 'good'
    driver.settle()
    assert.equal(driver.cluster.members('kip').length, 50)
    assert.ok(heldEverywhere(driver, 'r.test/image-000:1'))
  })

  it('with the sleep image is mended as soon as the setting is', () => {
    const driver = start(2, 'r.test/a:1')
    driver.settings = { ...pullerSettings, sleepImage: 'r.test/wrong:1' }
    driver.cluster.behave = (reference) => (reference === 'r.test/wrong:1' ? 'missing' : 'good')
    driver.run(60)
    const [failure] = nodesOf(['r.test/a:1'], driver.round().seen, undefined, no).failures
    assert.match(failure?.message ?? '', /sleepImage/)
    driver.settings = pullerSettings
    driver.run(60)
    assert.ok(heldEverywhere(driver, 'r.test/a:1'))
  })

  it('with a settled shard and a wrong sleep image leaves what is held', () => {
    const driver = start(4, ...images(5))
    driver.settle()
    driver.settings = { ...pullerSettings, sleepImage: 'r.test/wrong:1' }
    driver.cluster.behave = (reference) => (reference === 'r.test/wrong:1' ? 'missing' : 'good')
    driver.run(120)
    driver.settings = pullerSettings
    driver.settle()
    assert.deepEqual(driver.cluster.losses, [])
  })

  it('of a lost node holds nobody up', () => {
    const driver = start(4, 'r.test/a:1')
    driver.settle()
    const n4 = driver.cluster.nodes.get('n4')
    assert.ok(n4)
    n4.lost = true
    driver.wanted = want('r.test/a:1', 'r.test/b:1')
    driver.run(120)
    assert.ok(driver.cluster.members('kip').includes('r.test/b:1'))
    n4.lost = false
    driver.settle()
    assert.ok(heldEverywhere(driver, 'r.test/b:1'))
    assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip'])
    assert.deepEqual(driver.cluster.losses, [])
  })

  it('of a DaemonSet deleted by hand is put right at once, as it was', () => {
    const driver = start(2, ...images(80))
    driver.settle()
    const before = driver.cluster.members('kip')
    driver.cluster.delete('kip')
    driver.run(2)
    assert.deepEqual(driver.cluster.members('kip'), before)
    driver.settle()
    assert.deepEqual([...driver.cluster.daemonSets.keys()], ['kip'])
  })

  it('of a DaemonSet deleted while kip was down is put right by proving the images again', () => {
    const driver = start(2, ...images(5))
    driver.settle()
    driver.cluster.delete('kip')
    driver.restart()
    driver.settle()
    assert.equal(driver.cluster.members('kip').length, 5)
  })
})

describe('changes', () => {
  it('of settings roll every shard, one after the other, and lose nothing', () => {
    const driver = start(4, ...images(120))
    driver.run(900)
    driver.settings = { ...pullerSettings, tolerations: [{ operator: 'Exists' }] }
    driver.run(1200, ({ changes, seen }) => {
      for (const { name } of changes) {
        const others = seen.shards.filter((shard) => shard.name !== name)
        assert.ok(others.every((shard) => seen.isRolledOut(shard)))
      }
    })
    assert.deepEqual(driver.cluster.losses, [])
    assert.ok(
      [...driver.cluster.daemonSets.values()].every(
        ({ spec }) => spec?.template?.spec?.tolerations?.length === 1,
      ),
    )
  })

  it('of settings take no image from nodes that stands beside one that fails', () => {
    const driver = start(3, 'r.test/good:1', 'r.test/bad:1')
    driver.cluster.behave = (reference) => (reference === 'r.test/bad:1' ? 'missing' : 'good')
    driver.settings = { ...pullerSettings, nodesAtOnce: 1 }
    driver.run(10)
    assert.ok(heldEverywhere(driver, 'r.test/good:1'))
    // What is on its way keeps the good one from going on at once.
    driver.cluster.pullTicks = () => 60
    driver.wanted = want('r.test/good:1', 'r.test/bad:1', 'r.test/slow:1')
    driver.settings = { ...driver.settings, tolerations: [{ operator: 'Exists' }] }
    driver.restart()
    driver.settle()
    assert.deepEqual(driver.cluster.losses, [])
  })

  it('of settings do not take along at once what is not wanted at that moment', () => {
    const driver = start(2, 'r.test/a:1', 'r.test/b:1')
    driver.settle()
    driver.restart()
    driver.settings = { ...pullerSettings, tolerations: [{ operator: 'Exists' }] }
    driver.wanted = want()
    driver.run(5)
    assert.deepEqual(driver.cluster.members('kip'), ['r.test/a:1', 'r.test/b:1'])
    driver.settle()
    assert.deepEqual(driver.cluster.members('kip'), [])
  })

  it('are none after a restart', () => {
    const driver = start(3, ...images(30), 'r.test/bad:1')
    driver.cluster.behave = (reference) => (reference === 'r.test/bad:1' ? 'missing' : 'good')
    driver.settle()
    const before = driver.cluster.writes.length
    driver.restart()
    driver.run(1200)
    assert.equal(driver.cluster.writes.length, before)
  })

  it('are none while nothing changes, and no round is asked for', () => {
    const driver = start(3, ...images(30))
    driver.settle()
    const { changes, wakeAt } = driver.round()
    assert.deepEqual(changes, [])
    assert.equal(wakeAt, Number.POSITIVE_INFINITY)
  })
})
