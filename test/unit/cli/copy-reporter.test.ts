import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, mock, test } from 'node:test'
import { type CopyEvent, parseReference } from '@containers/image-copy'
import type { Outcome } from '../../../src/cli/copy/outcome.ts'
import { Reporter } from '../../../src/cli/copy/reporter.ts'

const image = 'b.test/app:1'
const pair = { source: parseReference('a.test/app:1'), target: parseReference(image) }
const digest = `sha256:${'a'.repeat(64)}`
const halfWay: readonly CopyEvent[] = [
  { type: 'image-started', image, source: 'a.test/app:1' },
  { type: 'blob-found', image, digest, bytes: 2e6 },
  { type: 'blob-progress', image, digest, sent: 1e6, bytes: 2e6 },
]
const copied: Outcome = {
  ...{ status: 'copied', digest, bytes: 2e6, blobs: 1, skipped: 0, mounted: 0, seconds: 1 },
}
const failed: Outcome = { status: 'failed', code: 'COPY_DENIED', message: 'denied' }

describe('what is told while images are copied', () => {
  /** Everything that was written, in order, each with where it went. */
  let written: string[] = []
  const invocation = {
    print: (text: string) => written.push(`out: ${text}`),
    complain: (text: string) => written.push(`err: ${text}`),
  }
  const terminal = {
    ...{ columns: 80, rows: 24 },
    write: (text: string) => written.push(`terminal: ${text}`),
  }

  beforeEach(() => {
    written = []
    mock.timers.enable({ apis: ['setInterval', 'setTimeout'] })
  })
  afterEach(() => mock.timers.reset())

  test('off a terminal a plain line every ten seconds, and none after the end', () => {
    const reporter = new Reporter({ invocation, output: 'text' })
    reporter.expect(1)
    halfWay.forEach(reporter.event)
    mock.timers.tick(9_999)
    assert.deepEqual(written, [])
    mock.timers.tick(1)
    assert.equal(written.length, 1)
    assert.match(written[0] ?? '', /^err: 1\.0 MB of 2\.0 MB/)
    mock.timers.tick(10_000)
    assert.equal(written.length, 2)
    reporter.end()
    mock.timers.tick(60_000)
    assert.equal(written.length, 2)
  })

  test('on a terminal a picture, taken away before each line and at the end', () => {
    const reporter = new Reporter({
      invocation: { ...invocation, terminal },
      output: 'text',
    })
    reporter.expect(2)
    halfWay.forEach(reporter.event)
    mock.timers.tick(200)
    assert.match(written.splice(0).join(''), /^terminal: {3}a{12} \[#{12}\.{12}\] 1\.0 MB of 2\.0/)
    const away = 'terminal: \u001b[2A\u001b[J'
    reporter.outcome(pair, failed)
    const line = `err: failed a.test/app:1 -> ${image}: denied [COPY_DENIED]`
    assert.deepEqual(written.splice(0), [away, line])
    mock.timers.tick(200)
    const again = written.splice(0).join('')
    assert.match(again, /^terminal: .*0 of 2 images/s)
    assert.equal(again.includes('\u001b'), false)
    reporter.outcome(pair, copied)
    reporter.end()
    const [clearing, result, ...more] = written.splice(0)
    assert.deepEqual([clearing, more], [away, []])
    assert.match(result ?? '', /^out: copied a\.test\/app:1 -> b\.test\/app:1 /)
    mock.timers.tick(60_000)
    assert.deepEqual(written, [])
  })

  test('as json the failures too are results', () => {
    const reporter = new Reporter({ invocation, output: 'json' })
    reporter.expect(1)
    reporter.outcome(pair, failed)
    reporter.end()
    assert.equal(written.length, 1)
    assert.match(written[0] ?? '', /^out: \{"type":"image",.*"status":"failed"/)
  })
})
