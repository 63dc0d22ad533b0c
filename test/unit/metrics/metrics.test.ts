import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createMetrics } from '../../../src/metrics/metrics.ts'

describe('createMetrics', () => {
  it('renders what was counted, in the Prometheus text format', async () => {
    const metrics = createMetrics({ processMetrics: false })
    metrics.counter('kip_copies_total', 'Copies.', ['result']).inc({ result: 'ok' }, 2)
    metrics.gauge('kip_leader', 'Leads.').set(1)
    metrics.histogram('kip_wait_seconds', 'Waits.', [], [1, 5]).observe(3)
    const text = await metrics.render()
    assert.match(metrics.contentType, /^text\/plain; version=0\.0\.4/)
    assert.match(text, /^# TYPE kip_copies_total counter$/m)
    assert.match(text, /^kip_copies_total\{result="ok"\} 2$/m)
    assert.match(text, /^kip_leader 1$/m)
    assert.match(text, /^kip_wait_seconds_bucket\{le="1"\} 0$/m)
    assert.match(text, /^kip_wait_seconds_bucket\{le="5"\} 1$/m)
  })

  it('gives the same metric when a job is made anew', async () => {
    const metrics = createMetrics({ processMetrics: false })
    metrics.counter('kip_terms_total', 'Terms.').inc()
    metrics.counter('kip_terms_total', 'Terms.').inc()
    assert.match(await metrics.render(), /^kip_terms_total 2$/m)
  })

  it('refuses one name for two types', () => {
    const metrics = createMetrics({ processMetrics: false })
    metrics.counter('kip_x', 'x')
    assert.throws(() => metrics.gauge('kip_x', 'x'), /kip_x is declared twice/)
  })

  it('shares nothing between two registries, and has the process metrics by default', async () => {
    const [one, other] = [createMetrics(), createMetrics()]
    one.gauge('kip_only_here', 'x').set(1)
    const text = await other.render()
    assert.doesNotMatch(text, /kip_only_here/)
    assert.match(text, /^nodejs_eventloop_lag_p99_seconds /m)
    assert.match(text, /^process_resident_memory_bytes \d/m)
  })
})
