import assert from 'node:assert/strict'
import { test } from 'node:test'
import { table } from '../../demo/screen.ts'
import { type Reached, Timeline } from '../../demo/timeline.ts'

test('a step is reached once, at its first time', () => {
  const reached: Reached[] = []
  const timeline = new Timeline((event) => reached.push(event))
  timeline.reach('a:1', 'found', 1)
  timeline.reach('a:1', 'found', 2)
  timeline.reach('a:1', 'n1', 3)
  timeline.reach('a:1', 'n1', 4)
  assert.deepEqual(reached, [
    { image: 'a:1', step: 'found', at: 1 },
    { image: 'a:1', step: 'n1', at: 3 },
  ])
})

test('all is done when every image went through every step on every node', () => {
  const timeline = new Timeline(() => undefined)
  for (const step of ['found', 'mirrored', 'n1']) timeline.reach('a:1', step, 1)
  assert.equal(timeline.complete(['a:1'], ['n1', 'n2']), false)
  timeline.reach('a:1', 'n2', 2)
  assert.equal(timeline.complete(['a:1'], ['n1', 'n2']), true)
  assert.equal(timeline.complete(['a:1', 'b:1'], ['n1']), false)
})

test('the table is aligned and marks what is still to come', () => {
  const rows = table(
    [{ image: 'origin.test/nginx:1', found: 0.42, cached: { n1: 3 } }],
    ['n1', 'n2'],
    '…',
  )
  assert.deepEqual(rows, [
    'IMAGE                FOUND  MIRRORED  ON N1  ON N2',
    'origin.test/nginx:1  0.4 s  …         3.0 s  …',
  ])
})
