import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseReference } from '@containers/image-copy'
import { parseCopyList } from '../../../src/cli/copy/items.ts'
import type { Outcome } from '../../../src/cli/copy/outcome.ts'
import { requireExtraTags, WantedInTargets } from '../../../src/cli/copy/wanted-in-target.ts'

const done: Outcome = { status: 'to-copy', digest: 'd', bytes: 0, blobs: 0, skipped: 0 }
const failed: Outcome = { status: 'failed', code: 'C', message: 'm' }

function wantedOf(list: string, outcomes: Readonly<Record<string, Outcome>>, http: string[] = []) {
  const wanted = new WantedInTargets(parseCopyList(list, 'list'), http)
  const source = parseReference('a.test/x:1')
  for (const [target, outcome] of Object.entries(outcomes))
    wanted.outcome({ source, target: parseReference(target) }, outcome)
  return wanted.all.map(({ tags, known, arrived }) => ({ tags: [...tags], known, arrived }))
}

describe('what a run wants of a target', () => {
  test('is what all lines bring there, by whatever name of its host', () => {
    const list = 'a.test/x b.test/x tags=*\na.test/y B.test:443/x tags=*\na.test/z:1 b.test/x:z'
    const outcomes = { 'b.test/x:1': done, 'B.test:443/x:2': done, 'b.test/x:z': done }
    const tags = ['1', '2', 'z']
    assert.deepEqual(wantedOf(list, outcomes), [{ tags, known: true, arrived: true }])
    const plain = 'a.test/x b.test/x tags=*\na.test/y b.test:80/x tags=*'
    const two = wantedOf(plain, { 'b.test/x:1': done, 'b.test:80/x:2': done }, ['b.test'])
    assert.equal(two.length, 2)
    const http = ['b.test', 'b.test:80']
    assert.equal(wantedOf(plain, { 'b.test/x:1': done }, http).length, 1)
  })

  test('is known of an image that failed, too', () => {
    const outcomes = { 'b.test/x:1': done, 'b.test/x:2': failed }
    assert.deepEqual(wantedOf('a.test/x b.test/x tags=*', outcomes), [
      { tags: ['1', '2'], known: true, arrived: false },
    ])
  })

  test('is also what is copied on from there', () => {
    const wanted = new WantedInTargets(parseCopyList('a.test/x b.test/x tags=*', 'list'), [])
    const from = { source: parseReference('b.test/x:kept'), target: parseReference('c.test/x:1') }
    wanted.outcome(from, failed)
    const [{ tags, arrived } = assert.fail()] = wanted.all
    assert.deepEqual([[...tags], arrived], [['kept'], true])
  })

  test('is nothing of repositories of which no tags are selected', () => {
    assert.deepEqual(wantedOf('a.test/x:1 b.test/x:1', { 'b.test/x:1': done }), [])
  })
})

test('a repository that is its own source is found by whatever name of its host', () => {
  const entries = parseCopyList('b.test/x B.test:443/x tags=*', 'list')
  assert.throws(() => requireExtraTags(entries, []), { code: 'KIP_USAGE' })
  requireExtraTags(parseCopyList('b.test/x b.test/y tags=*', 'list'), [])
})
