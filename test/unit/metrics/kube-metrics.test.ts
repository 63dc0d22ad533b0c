import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { KubeClient } from '../../../src/kube/client.ts'
import { KubeApiError } from '../../../src/kube/errors.ts'
import { Reflector } from '../../../src/kube/reflector.ts'
import { WorkQueue } from '../../../src/kube/work-queue.ts'
import { createMetrics, type Metrics } from '../../../src/metrics/metrics.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const log = silentLog()

async function read(metrics: Metrics, line: string): Promise<number | undefined> {
  const text = await metrics.render()
  const found = text.split('\n').find((each) => each.startsWith(`${line} `))
  return found === undefined ? undefined : Number(found.slice(line.length + 1))
}

describe('metrics of queues and reflectors', () => {
  it('are named as client-go names those of a queue, and follow its work', async () => {
    const metrics = createMetrics({ processMetrics: false })
    const queue = new WorkQueue({ log, metrics: metrics.workQueue('a') })
    const value = async (name: string): Promise<number> =>
      (await read(metrics, `workqueue_${name}{name="a"}`)) ?? Number.NaN
    for (const key of ['x', 'y', 'y']) queue.add(key)
    assert.deepEqual([await value('depth'), await value('adds_total')], [2, 2])
    const stop = new AbortController()
    const hold = Promise.withResolvers<void>()
    const running = queue.run(() => hold.promise, { signal: stop.signal })
    await waitUntil('work is under way', async () => (await value('depth')) === 1)
    await waitUntil('it is seen to hang', async () => {
      return (await value('longest_running_processor_seconds')) > 0
    })
    assert.ok((await value('unfinished_work_seconds')) > 0)
    stop.abort()
    hold.reject(new Error('no'))
    await running
    assert.equal(await value('unfinished_work_seconds'), 0)
    assert.equal(await value('work_duration_seconds_count'), 1)
    assert.equal(await value('depth'), 0)
  })

  it('sum up queues of one name', async () => {
    const metrics = createMetrics({ processMetrics: false })
    for (const key of ['x', 'y']) new WorkQueue({ log, metrics: metrics.workQueue('a') }).add(key)
    assert.equal(await read(metrics, 'workqueue_depth{name="a"}'), 2)
  })

  it('count what a reflector lists, watches, and fails at', async () => {
    const metrics = createMetrics({ processMetrics: false })
    const stop = new AbortController()
    const refusal = new KubeApiError({ status: 500, reason: 'InternalError', message: 'no' })
    const client = {
      raw: () => Promise.reject(refusal),
      stream: () => Promise.reject(refusal),
    } as unknown as KubeClient
    const reflector = new Reflector({
      client,
      resource: { group: '', version: 'v1', plural: 'pods' },
      project: () => undefined,
      log,
      metrics: metrics.reflector('a/pods'),
    })
    const running = reflector.run(stop.signal)
    await waitUntil('a failure', () =>
      read(metrics, 'reflector_failures_total{name="a/pods",reason="InternalError"}'),
    )
    stop.abort()
    await running
    assert.equal(await read(metrics, 'reflector_watches_total{name="a/pods"}'), 1)
    assert.equal(await read(metrics, 'reflector_watch_duration_seconds_count{name="a/pods"}'), 1)
  })
})
