import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { WatchEvent } from '../../../src/kube/decoder.ts'
import { jsonDecoder } from '../../../src/kube/json-decoder.ts'

const decoder = jsonDecoder({
  project: (raw) => raw.metadata?.labels?.say ?? '',
  onFault: (error) => assert.fail(String(error)),
})

function lineOf(type: string, name: string, say: string): string {
  const metadata = {
    namespace: 'a',
    name,
    uid: `uid-${name}`,
    resourceVersion: '7',
    labels: { say },
  }
  return JSON.stringify({ type, object: { metadata } })
}

describe('JSON of a watch', () => {
  test('is put together from any cuts', () => {
    fc.assert(
      fc.property(
        fc.array(fc.string({ unit: 'binary', maxLength: 30 }), { minLength: 1, maxLength: 8 }),
        fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 20 }),
        (says, cuts) => {
          const bytes = Buffer.from(
            says.map((say, at) => `${lineOf('ADDED', `p${at}`, say)}\n`).join(''),
          )
          const events: WatchEvent<string>[] = []
          const reader = decoder.eventReader('application/json')
          for (let at = 0, turn = 0; at < bytes.length; turn += 1) {
            const length = cuts[turn % cuts.length] ?? 1
            // The socket's buffer is used again for the next chunk.
            const chunk = Buffer.from(bytes.subarray(at, at + length))
            reader.push(chunk, (event) => events.push(event))
            chunk.fill(0)
            at += length
          }
          assert.deepEqual(
            events,
            says.map((say, at) => ({
              type: 'added',
              object: { key: `a/p${at}`, uid: `uid-p${at}`, resourceVersion: '7', value: say },
            })),
          )
        },
      ),
      { numRuns: 100 },
    )
  })

  test('bookmarks, errors, and what a later server may say', () => {
    const events: WatchEvent<string>[] = []
    const text = [
      '{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"9"}}}',
      '{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"10","annotations":{"k8s.io/initial-events-end":"true"}}}}',
      '{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}',
      '{"type":"NEWS","object":{}}',
      '',
    ].join('\n')
    decoder.eventReader('application/json').push(Buffer.from(text), (event) => events.push(event))
    assert.deepEqual(events, [
      { type: 'bookmark', resourceVersion: '9', initialEventsEnd: false },
      { type: 'bookmark', resourceVersion: '10', initialEventsEnd: true },
      { type: 'error', status: { kind: 'Status', code: 410, reason: 'Expired' } },
    ])
  })

  test('broken lines throw', () => {
    for (const line of ['{"type":', '{"type":"ADDED"}', '{"type":"ADDED","object":{}}']) {
      const reader = decoder.eventReader('application/json')
      assert.throws(() => reader.push(Buffer.from(`${line}\n`), () => {}))
    }
  })
})

test('JSON of a list: null items are none', () => {
  const seen: string[] = []
  const page = decoder.readList(
    'application/json',
    Buffer.from('{"metadata":{"resourceVersion":"5","continue":"more"},"items":null}'),
    (object) => seen.push(object.key),
  )
  assert.deepEqual(page, { resourceVersion: '5', continueToken: 'more' })
  assert.deepEqual(seen, [])
})
