import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { PullerSettings } from '../../../src/config/settings.ts'
import { type Demand, demandOf } from '../../../src/images/demand.ts'
import type { DaemonSet } from '../../../src/kube/types.ts'
import {
  buildDaemonSet,
  type ObservedShard,
  readDaemonSet,
} from '../../../src/puller/daemon-set.ts'
import { type NodeView, projectNode } from '../../../src/puller/node-view.ts'
import { type Placing, placingOf } from '../../../src/puller/placing.ts'
import { asksUsers } from '../../../src/puller/where-rules.ts'
import { type Choice, Whereabouts } from '../../../src/puller/whereabouts.ts'
import type { ImageState } from '../../../src/state/cached-image.ts'
import { pullerSettings } from './driver.ts'

const image = 'r.test/a:1'
const inUse: ImageState = {
  ...{ reference: image, name: 'a', requested: false, resourceVersion: '' },
  ...{ mirrors: [], conditions: [] },
}
const narrowMs = 600_000
const anywhere = demandOf({})
const pool = (name: string): Demand => demandOf({ nodeSelector: { pool: name } })

function node(name: string, labels: Readonly<Record<string, string>>, taint?: string): NodeView {
  return projectNode({
    metadata: { name, labels },
    spec: { taints: taint === undefined ? [] : [{ key: taint, effect: 'NoSchedule' }] },
  })
}
const nodes = [
  node('a1', { pool: 'a', disk: 'ssd' }),
  node('a2', { pool: 'a', disk: 'ssd' }),
  node('b1', { pool: 'b' }),
  node('x1', { pool: 'x' }),
  node('gpu', { pool: 'gpu' }, 'gpu'),
]

/** A holding shard of one image, as it is read back. */
function standing(placing: Placing | undefined, reference = image): ObservedShard {
  const object = buildDaemonSet(
    {
      ...{ kind: 'holding', index: 1, members: [{ container: 'a', reference }] },
      ...(placing === undefined || placing.id === '' ? {} : { where: placing.id, placing }),
    },
    { namespace: 'kip', settings: pullerSettings, strategy: 'volume', owner: undefined },
  )
  const shard = readDaemonSet({ ...object, metadata: { ...object.metadata, uid: 'u' } }, 'kip')
  assert.ok(shard)
  return shard
}

/** Rounds of one image whose users ask for `demands`. */
class Rounds {
  demands: readonly Demand[] | undefined
  readonly whereabouts: Whereabouts
  now = 0

  constructor(demands: readonly Demand[] | undefined, settings: Partial<PullerSettings> = {}) {
    this.demands = demands
    this.whereabouts = new Whereabouts({
      settings: { ...pullerSettings, where: 'used', ...settings },
      demandsOf: () => this.demands,
      narrowMs,
    })
  }

  choose(shards: readonly ObservedShard[] = [], there = nodes, state?: ImageState): Choice {
    this.whereabouts.begin(there, shards, this.now)
    return this.whereabouts.choose(image, state ?? inUse, [image])
  }
}

const idOf = (choice: Choice): string => (typeof choice === 'string' ? choice : choice.id)

describe('where an image is used', () => {
  it('is every node for users that ask for none in particular, and for what has none', () => {
    assert.equal(idOf(new Rounds([anywhere]).choose()), '')
    assert.equal(idOf(new Rounds([]).choose()), '')
    const rounds = new Rounds([pool('a')])
    assert.equal(idOf(rounds.choose([], nodes, { ...inUse, requested: true })), '')
    assert.equal(idOf(rounds.choose([], nodes)), placingOf([pool('a')]).id)
  })

  it('is the nodes that any of its users asks for, with the taints that they bear', () => {
    const tolerating = demandOf({
      nodeSelector: { pool: 'gpu' },
      tolerations: [{ key: 'gpu', operator: 'Exists' }],
    })
    const choice = new Rounds([pool('b'), tolerating]).choose()
    assert.ok(typeof choice !== 'string')
    assert.equal(choice.terms.length, 2)
    assert.deepEqual(choice.tolerations, [{ key: 'gpu', operator: 'Exists' }])
    assert.equal(new Rounds([pool('gpu')]).choose(), 'nowhere', 'the taint is not borne')
  })

  it('is one place for demands that come to the same nodes', () => {
    const ssd = demandOf({ nodeSelector: { disk: 'ssd' } })
    const rounds = new Rounds([pool('a')])
    const first = rounds.choose()
    rounds.demands = [ssd]
    assert.equal(rounds.whereabouts.choose('other', inUse, ['other']), first)
    assert.equal(idOf(rounds.choose([standing(placingOf([pool('a')]), 'other')])), idOf(first))
    const untainted = demandOf({
      affinity: {
        nodeAffinity: {
          requiredDuringSchedulingIgnoredDuringExecution: {
            nodeSelectorTerms: [{ matchExpressions: [{ key: 'pool', operator: 'Exists' }] }],
          },
        },
      },
    })
    assert.equal(idOf(new Rounds([untainted]).choose()), '', 'all that the settings admit')
  })

  it('grows at once by what comes, and shrinks when less would do for long', () => {
    const a = placingOf([pool('a')])
    const rounds = new Rounds([pool('b')])
    const both = rounds.choose([standing(a)])
    assert.equal(idOf(both), placingOf([pool('a'), pool('b')]).id)
    assert.ok(typeof both !== 'string')
    assert.equal(idOf(rounds.choose([standing(both)])), both.id)
    assert.equal(rounds.whereabouts.wakeAt, narrowMs)
    rounds.now = narrowMs - 1
    assert.equal(idOf(rounds.choose([standing(both)])), both.id)
    rounds.demands = [pool('a'), pool('b')]
    assert.equal(idOf(rounds.choose([standing(both)])), both.id)
    rounds.demands = [pool('b')]
    rounds.now += 2
    assert.equal(idOf(rounds.choose([standing(both)])), both.id, 'it is waited anew')
    rounds.now += narrowMs
    assert.equal(idOf(rounds.choose([standing(both)])), placingOf([pool('b')]).id)
  })

  it('stays while it is not known, and while nobody uses it', () => {
    const a = placingOf([pool('a')])
    for (const demands of [undefined, []]) {
      assert.equal(idOf(new Rounds(demands).choose([standing(a)])), a.id)
    }
    assert.equal(new Rounds(undefined).choose(), 'unknown')
  })

  it('stays for nodes that are all gone, and enters nowhere for nodes that are not there', () => {
    const c = placingOf([pool('c')])
    assert.equal(new Rounds([pool('c')]).choose(), 'nowhere')
    assert.equal(idOf(new Rounds([pool('c')]).choose([standing(c)])), c.id)
    const grown = [...nodes, node('c1', { pool: 'c' })]
    assert.equal(idOf(new Rounds([pool('c')]).choose([], grown)), c.id)
  })

  it('is one of so many places at most', () => {
    const many = Array.from({ length: 18 }, (_, index) => node(`n${index}`, { pool: `${index}` }))
    const whereabouts = new Whereabouts({
      settings: { ...pullerSettings, where: 'used' },
      demandsOf: (reference) => [pool(reference)],
      narrowMs,
    })
    whereabouts.begin(many, [], 0)
    const choices = many.map((_, index) => idOf(whereabouts.choose(`${index}`, inUse, [])))
    assert.equal(choices.filter((choice) => choice === 'crowded').length, 2)
    assert.equal(whereabouts.placings.size, 16)
  })

  it('is every node where kip may not read nodes, or cannot tell who uses an image', () => {
    const rounds = new Rounds([pool('a')])
    rounds.whereabouts.begin(undefined, [], 0)
    assert.equal(idOf(rounds.whereabouts.choose(image, inUse, [image])), '')
    const settings = { ...pullerSettings, where: 'used' as const }
    const alone = new Whereabouts({ settings, demandsOf: undefined, narrowMs })
    alone.begin(nodes, [], 0)
    assert.equal(idOf(alone.choose(image, inUse, [image])), '')
  })
})

describe('a rule', () => {
  it('says where the images are that it matches', () => {
    const rules = [
      { images: ['r.test/*'], where: 'everywhere', nodeSelector: { pool: 'a' } },
      { images: ['**'], where: 'used' },
    ] as const
    const choice = new Rounds([pool('b')], { where: 'everywhere', rules }).choose()
    assert.equal(idOf(choice), placingOf([pool('a')]).id)
    const later = new Rounds([pool('b')], { where: 'everywhere', rules: rules.slice(1) })
    assert.equal(idOf(later.choose()), placingOf([pool('b')]).id)
  })

  it('that says not where means everywhere, whoever uses the images', () => {
    const rules = [{ images: ['r.test/*'], nodeSelector: { pool: 'a' } }]
    for (const demands of [undefined, [], [pool('b')]]) {
      for (const where of ['everywhere', 'used'] as const) {
        const choice = new Rounds(demands, { where, rules }).choose()
        assert.equal(idOf(choice), placingOf([pool('a')]).id)
      }
    }
    assert.equal(asksUsers({ where: 'everywhere', rules }), false)
  })

  it('narrows what users ask for', () => {
    const rules = [{ images: ['**'], where: 'used', nodeSelector: { disk: 'ssd' } }] as const
    const choice = new Rounds([pool('a'), pool('b')], { rules }).choose()
    assert.ok(typeof choice !== 'string')
    assert.ok(choice.terms.every((term) => term.some(({ key }) => key === 'disk')))
  })
})

describe('a placing', () => {
  it('is read back from its DaemonSet, and not believed when somebody changed it', () => {
    const placing = placingOf([pool('a'), pool('b')])
    const object = buildDaemonSet(
      {
        ...{ kind: 'fresh', index: 2, where: `${placing.id}-amd64`, placing },
        members: [{ container: 'a', reference: image }],
      },
      { namespace: 'kip', settings: pullerSettings, strategy: 'init', owner: undefined },
    )
    const { metadata } = object
    assert.equal(metadata?.name, `kip-fresh-${placing.id}-amd64-2`)
    const read = readDaemonSet(object, 'kip')
    assert.deepEqual(read?.placing, placing)
    assert.equal(read?.where, `${placing.id}-amd64`)
    for (const text of [undefined, '', '{}', 'null', '{"terms":[],"tolerations":[]}', '[1]']) {
      const annotations = { ...metadata?.annotations, 'images.kip/placing': text ?? '' }
      const edited: DaemonSet = { ...object, metadata: { ...metadata, annotations } }
      assert.equal(readDaemonSet(edited, 'kip'), undefined, text)
    }
  })

  it('of many alternatives is every node', () => {
    const many = Array.from({ length: 9 }, (_, index) => pool(`${index}`))
    assert.deepEqual(placingOf(many).terms, [])
    assert.equal(placingOf(many.slice(1)).terms.length, 8)
    assert.deepEqual(placingOf([pool('a'), anywhere]).terms, [])
  })
})
