import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { PodView } from '../../../src/puller/pod-view.ts'
import { type Tally, tallyPods } from '../../../src/puller/tallies.ts'
import type { Verdict } from '../../../src/puller/verdict.ts'

const lists: readonly (readonly string[])[] = [['a', 'b', 'c'], ['c', 'd'], ['e'], ['f', 'f']]
const verdicts = ['pending', 'failed', 'unstartable', 'started'] as const
const nodes = ['n0', 'n1', 'n2', 'n3']
const resident = new Set(['list0', 'list1'])
const blank: Tally = { held: 0, unstartable: 0, stalled: 0, failures: [] }

interface Scenario {
  readonly pods: readonly PodView[]
  readonly lost: ReadonlySet<string>
  /** Nodes of a kind that is not to have images whose names come before this. */
  readonly narrow: ReadonlySet<string>
  readonly from: string
}

const podOf = fc
  .record({
    list: fc.nat(lists.length - 1),
    node: fc.constantFrom(...nodes),
    // Nearly all pods of a cluster that is well.
    verdicts: fc.oneof(
      { weight: 2, arbitrary: fc.constant<Verdict[]>(['started', 'started', 'started']) },
      { weight: 1, arbitrary: fc.array(fc.constantFrom(...verdicts), { maxLength: 3 }) },
    ),
  })
  .map(({ list, node, verdicts: given }): PodView => {
    const images = lists[list] ?? []
    const own = given.slice(0, images.length)
    const failures = own.flatMap((verdict, place) =>
      verdict === 'failed' ? [[place, { reason: 'ErrImagePull', message: 'gone' }] as const] : [],
    )
    return {
      ...{ name: 'p', shard: `list${list}`, node, template: 't', ready: true, lost: false },
      ...{ images, containers: images, verdicts: own, failures: new Map(failures) },
    }
  })

const scenarios: fc.Arbitrary<Scenario> = fc.record({
  pods: fc.array(podOf, { maxLength: 16 }),
  lost: fc.subarray(nodes).map((some) => new Set(some)),
  narrow: fc.subarray(nodes).map((some) => new Set(some)),
  from: fc.constantFrom('a', 'c', 'e'),
})

/** Image by image and node by node, as it is meant. */
function oneByOne({ pods, lost, narrow, from }: Scenario, reference: string): Tally {
  const tally = { ...blank, failures: [...blank.failures] }
  for (const node of nodes) {
    if (narrow.has(node) && reference < from) continue
    const own = pods
      .filter((pod) => pod.node === node)
      .flatMap((pod) =>
        pod.images.flatMap((image, place) =>
          image === reference
            ? [{ shard: pod.shard, verdict: pod.verdicts[place] ?? 'pending' }]
            : [],
        ),
      )
    const best = own
      .map(({ verdict }) => verdicts.indexOf(verdict))
      .reduce((a, b) => Math.max(a, b), 0)
    const verdict = verdicts[best]
    if (verdict === 'started' || verdict === 'unstartable') tally.held += 1
    if (lost.has(node)) continue
    tally.stalled += own.filter(
      (one) => one.verdict === 'unstartable' && resident.has(one.shard),
    ).length
    if (verdict === 'unstartable') tally.unstartable += 1
    if (verdict === 'failed') {
      tally.failures.push({ node, reason: 'ErrImagePull', message: 'gone' })
    }
  }
  return tally
}

describe('tallyPods', () => {
  it('counts pods that have all they are to have as it counts images one by one', () => {
    fc.assert(
      fc.property(scenarios, (scenario) => {
        const { pods, lost, narrow, from } = scenario
        const byNode = new Map(nodes.map((node) => [node, pods.filter((pod) => pod.node === node)]))
        const aim = {
          isMeant: (node: string, reference: string) => !narrow.has(node) || reference >= from,
          kindOf: (node: string) => narrow.has(node),
        }
        const { tallies } = tallyPods(byNode, { lost, resident, aim })
        for (const reference of ['a', 'b', 'c', 'd', 'e', 'f']) {
          assert.deepEqual(
            tallies.get(reference) ?? blank,
            oneByOne(scenario, reference),
            reference,
          )
        }
      }),
      { numRuns: 2000 },
    )
  })

  it('counts what fails in the place of an image against it, though an older pod holds it', () => {
    const pod = {
      ...{ name: 'p', shard: 'list0', node: 'n0', ready: false, lost: false, template: 'new' },
      ...{ images: ['a', 'x', 'c'], containers: ['a', 'b', 'c'], failures: new Map() },
    }
    const pods = (verdict: Verdict): readonly PodView[] => [
      { ...pod, template: 'old', images: ['a', 'b', 'c'], verdicts: ['started', 'started'] },
      { ...pod, verdicts: ['started', verdict] },
    ]
    const aim = { isMeant: (_node: string, _reference: string) => true, kindOf: () => '' }
    const meantAt = ({ template }: PodView, place: number): string | undefined =>
      template === 'new' && place === 1 ? 'b' : undefined
    const stalled = (verdict: Verdict): readonly number[] => {
      const byNode = new Map([['n0', pods(verdict)]])
      const { tallies } = tallyPods(byNode, { lost: new Set(), resident, aim, meantAt })
      return ['a', 'b', 'c', 'x'].map((reference) => tallies.get(reference)?.stalled ?? 0)
    }
    assert.deepEqual(stalled('failed'), [0, 1, 0, 0])
    // What it names is meant for no node: only what kip places is.
    aim.isMeant = (_, reference) => reference !== 'x'
    assert.deepEqual(stalled('failed'), [0, 1, 0, 0])
    aim.isMeant = (_, reference) => reference !== 'b'
    assert.deepEqual(stalled('failed'), [0, 0, 0, 0])
    aim.isMeant = () => true
    assert.deepEqual(stalled('unstartable'), [0, 1, 0, 0])
    assert.deepEqual(stalled('pending'), [0, 0, 0, 0])
  })
})
