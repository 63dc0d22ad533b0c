import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { judge } from '../../bench/harness/goals.ts'
import type { Measurement, Round } from '../../bench/harness/measurement.ts'
import { cases } from '../../bench/watch/cases.ts'
import { BEGINNING, END } from '../../bench/watch/churn.ts'
import { benchPod, namespaceNames, runningStatus, WORKLOADS } from '../../bench/watch/pods.ts'

describe('the bench of watching', () => {
  test('makes pods that differ where pods of a cluster do', () => {
    const pods = Array.from({ length: 2 * WORKLOADS }, (_, number) => benchPod(number))
    assert.equal(new Set(pods.map(({ metadata }) => metadata.name)).size, pods.length)
    const namespaces = new Set(pods.map(({ metadata }) => metadata.namespace))
    assert.deepEqual([...namespaces].sort(), [...namespaceNames()].sort())
    const images = pods.flatMap(({ spec }) => spec.containers.map(({ image }) => image))
    assert.equal(new Set(images).size, 2 * WORKLOADS)
    const [first, second] = [benchPod(0), benchPod(WORKLOADS)]
    assert.deepEqual(
      first.spec.containers.map(({ image }) => image),
      second.spec.containers.map(({ image }) => image),
    )
    assert.notDeepEqual(first.spec.volumes, second.spec.volumes)
    assert.equal(runningStatus(first).containerStatuses.length, first.spec.containers.length)
  })

  test('has goals for what its cases measure', () => {
    const measured: Measurement = {
      ...{ wallMs: 1, cpuMs: 1, rssMib: 1, blockMs: 1, bytes: 1 },
    }
    const round: Round = {
      kip: measured,
      'client-go': measured,
      [BEGINNING]: measured,
      [END]: measured,
    }
    const goals = cases.flatMap(({ name, goals }) =>
      goals.map((goal) => judge(name, goal, [round])),
    )
    assert.ok(goals.every(({ value }) => value === 1))
    assert.deepEqual(
      goals.filter(({ met }) => !met).map(({ what }) => what),
      [
        ...['CPU beside client-go', 'RSS beside client-go', 'wall beside client-go'],
        ...['CPU beside client-go', 'RSS beside client-go'],
      ],
    )
  })
})
