import assert from 'node:assert/strict'
import { request } from 'node:http'
import { describe, it } from 'node:test'
import { createMetrics, type Metrics } from '../../../src/metrics/metrics.ts'
import {
  buildStatusServer,
  type Readiness,
  startStatusServer,
} from '../../../src/metrics/status-server.ts'

function state(over: { ready?: Readiness; healthy?: boolean; metrics?: Metrics } = {}) {
  return {
    metrics: over.metrics ?? createMetrics({ processMetrics: false }),
    ready: () => over.ready ?? { ok: true, waiting: [] },
    healthy: () => over.healthy ?? true,
  }
}

describe('status server', () => {
  it('answers /healthz by health', async () => {
    const well = await buildStatusServer(state()).inject('/healthz')
    assert.equal(well.statusCode, 200)
    const ill = await buildStatusServer(state({ healthy: false })).inject('/healthz')
    assert.equal(ill.statusCode, 500)
  })

  it('says on /readyz what it waits for', async () => {
    const ready = await buildStatusServer(state()).inject('/readyz')
    assert.equal(ready.statusCode, 200)
    const waiting = ['cachedimages: first list', 'certificate']
    const app = buildStatusServer(state({ ready: { ok: false, waiting } }))
    const answer = await app.inject('/readyz')
    assert.equal(answer.statusCode, 503)
    assert.deepEqual(answer.json(), { ok: false, waiting })
  })

  it('serves the metrics over a real socket, on a free port', async () => {
    const metrics = createMetrics({ processMetrics: false })
    metrics.gauge('kip_up', 'Up.').set(1)
    const server = await startStatusServer({ ...state({ metrics }), port: 0, host: '127.0.0.1' })
    try {
      assert.ok(server.port > 0)
      const answer = await fetch(`http://127.0.0.1:${server.port}/metrics`)
      assert.match(answer.headers.get('content-type') ?? '', /^text\/plain/)
      assert.match(await answer.text(), /^kip_up 1$/m)
    } finally {
      await server.close()
    }
    await assert.rejects(fetch(`http://127.0.0.1:${server.port}/healthz`))
  })

  it('answers what is in flight at close, and then lets go of the kept connection', async () => {
    const started = Promise.withResolvers<void>()
    const finish = Promise.withResolvers<string>()
    const metrics: Metrics = {
      ...createMetrics({ processMetrics: false }),
      render: () => {
        started.resolve()
        return finish.promise
      },
    }
    const server = await startStatusServer({ ...state({ metrics }), port: 0, host: '127.0.0.1' })
    const answered = Promise.withResolvers<{ status: number; connection: string | undefined }>()
    const asking = request(
      { host: '127.0.0.1', port: server.port, path: '/metrics' },
      (response) => {
        response.resume()
        const { connection } = response.headers
        answered.resolve({ status: response.statusCode ?? 0, connection })
      },
    )
    asking.on('error', answered.reject)
    asking.end()
    await started.promise
    const closed = server.close()
    // The drain flag is set in a hook that runs a few turns after the call.
    await new Promise((resolve) => setTimeout(resolve, 20))
    finish.resolve('late')
    assert.deepEqual(await answered.promise, { status: 200, connection: 'close' })
    await closed
  })

  it('fails on a port that is taken', async () => {
    const first = await startStatusServer({ ...state(), port: 0, host: '127.0.0.1' })
    try {
      await assert.rejects(startStatusServer({ ...state(), port: first.port, host: '127.0.0.1' }), {
        code: 'EADDRINUSE',
      })
    } finally {
      await first.close()
    }
  })
})
