import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { CopyEvent } from '@containers/image-copy'
import { CopyProgress } from '../../../src/cli/copy/progress.ts'
import { formatBytes, formatSeconds } from '../../../src/cli/copy/quantities.ts'
import { overallLine, progressLines, Screen } from '../../../src/cli/copy/screen.ts'

const MB = 1e6
const image = 'b.test/app:1'
const started: CopyEvent = { type: 'image-started', image, source: 'a.test/app:1' }
const found = (digest: string, bytes: number): CopyEvent => ({
  ...{ type: 'blob-found', image, digest, bytes },
})
const progress = (digest: string, sent: number, bytes: number): CopyEvent => ({
  ...{ type: 'blob-progress', image, digest, sent, bytes },
})
const done = (digest: string, bytes: number, how: 'copied' | 'mounted' | 'present'): CopyEvent => ({
  ...{ type: 'blob-done', image, digest, bytes, how },
})

function after(images: number, ...events: readonly CopyEvent[]): CopyProgress {
  const model = new CopyProgress(images)
  for (const event of events) model.apply(event)
  return model
}

describe('progress of a copy', () => {
  test('what is there counts as done, and only what was sent makes the rate', () => {
    const blobs = [
      found('sha256:a', 100 * MB),
      found('sha256:b', 50 * MB),
      found('sha256:c', 10 * MB),
    ]
    const model = after(1, started, ...blobs)
    model.view(0)
    model.apply(done('sha256:c', 10 * MB, 'mounted'))
    model.apply(progress('sha256:a', 20 * MB, 100 * MB))
    const view = model.view(2_000)
    assert.equal(view.done, 30 * MB)
    assert.equal(view.total, 160 * MB)
    assert.equal(view.sent, 20 * MB)
    assert.equal(view.bytesPerSecond, 10 * MB)
    assert.equal(view.secondsLeft, 13)
    assert.deepEqual(view.blobs, [{ image, digest: 'sha256:a', sent: 20 * MB, bytes: 100 * MB }])
  })

  test('an upload that begins again goes back, and the bytes sent in vain stay in the rate', () => {
    const first = [found('sha256:a', 10 * MB), progress('sha256:a', 8 * MB, 10 * MB)]
    const model = after(1, started, ...first)
    model.apply(progress('sha256:a', 0, 10 * MB))
    assert.equal(model.view(0).done, 0)
    model.apply(done('sha256:a', 10 * MB, 'copied'))
    const view = model.view(1)
    assert.equal(view.done, 10 * MB)
    assert.equal(view.sent, 18 * MB)
    assert.deepEqual(view.blobs, [])
  })

  test('a failed image takes what it lacks from the total', () => {
    const model = after(2, started, found('sha256:a', 10 * MB), found('sha256:b', 5 * MB))
    model.apply(done('sha256:b', 5 * MB, 'copied'))
    model.apply(progress('sha256:a', 1 * MB, 10 * MB))
    model.apply({ type: 'image-failed', image, error: new Error('gone') })
    // Of a blob that had not heard of it yet.
    model.apply(progress('sha256:a', 2 * MB, 10 * MB))
    const view = model.view(0)
    assert.equal(view.total, 5 * MB)
    assert.equal(view.done, 5 * MB)
    assert.equal(view.imagesDone, 1)
    assert.deepEqual(view.blobs, [])
  })

  test('images that have not begun are expected to be like the others', () => {
    const model = after(4, started, found('sha256:a', 10 * MB))
    model.view(0)
    model.apply(progress('sha256:a', 5 * MB, 10 * MB))
    assert.equal(model.view(1_000).secondsLeft, 7)
  })

  test('the rate forgets what is long ago', () => {
    const model = after(1, started, found('sha256:a', 1000 * MB))
    model.view(0)
    model.apply(progress('sha256:a', 500 * MB, 1000 * MB))
    for (let now = 1_000; now <= 20_000; now += 1_000) model.view(now)
    assert.equal(model.view(21_000).bytesPerSecond, 0)
    assert.equal(model.view(21_001).secondsLeft, undefined)
  })
})

describe('the picture on a terminal', () => {
  const blobs = ['a', 'b', 'c'].flatMap((name, index) => [
    found(`sha256:${name.repeat(64)}`, (index + 1) * MB),
    progress(`sha256:${name.repeat(64)}`, 0.5 * MB, (index + 1) * MB),
  ])
  const view = after(2, started, ...blobs).view(0)

  test('a line a layer, the largest first, and one for all', () => {
    const lines = progressLines(view, { columns: 120, rows: 24 })
    assert.equal(lines.length, 4)
    assert.match(lines[0] ?? '', /^ {2}c{12} \[####\.{20}\] 500 kB of 3\.0 MB +app:1$/)
    assert.equal(lines[3], '0 of 2 images, 1.5 MB of 6.0 MB')
  })

  test('no line wraps, and none is drawn beyond the last row', () => {
    const lines = progressLines(view, { columns: 30, rows: 5 })
    assert.equal(lines.length, 3)
    assert.ok(lines.every((line) => line.length < 30))
    assert.match(progressLines(view, { columns: 90, rows: 5 }).at(-1) ?? '', /\(and 1 more\)/)
  })

  test('a terminal that knows no size is given lines to read', () => {
    const lines = progressLines(view, { columns: 0, rows: 0 })
    assert.deepEqual(lines, progressLines(view, { columns: 80, rows: 24 }))
  })

  test('it is drawn in place, and taken away before other lines', () => {
    const written: string[] = []
    const screen = new Screen({ columns: 80, rows: 24, write: (text) => written.push(text) })
    screen.draw(view)
    screen.draw(view)
    screen.clear()
    screen.clear()
    const back = '\u001b[4A\u001b[J'
    assert.equal(written[0]?.includes('\u001b'), false)
    assert.ok(written[1]?.startsWith(back))
    assert.deepEqual(written.slice(2), [back])
  })

  test('rate and time left are shown once they are known', () => {
    const line = overallLine({ ...view, images: 1, bytesPerSecond: 105 * MB, secondsLeft: 75 })
    assert.equal(line, '1.5 MB of 6.0 MB, 105 MB/s, 1 min 15 s left')
  })
})

test('a dry run is shown by its images, and not by bytes that it does not move', () => {
  const over: CopyEvent = { type: 'image-done', image, digest: 'sha256:a' }
  const list = after(3, started, over)
  assert.equal(overallLine(list.view(0)), '1 of 3 images')
  assert.equal(overallLine(list.view(2_000)), '1 of 3 images')
  assert.equal(overallLine(after(1, started).view(0)), '0 of 1 image')
})

describe('quantities', () => {
  test('three digits and a unit', () => {
    const shown = [0, 999, 1000, 61_300_000, 999_600_000, 3.4e9, 7e15].map(formatBytes)
    assert.deepEqual(shown, ['0 B', '999 B', '1.0 kB', '61.3 MB', '1.0 GB', '3.4 GB', '7000 TB'])
  })

  test('times as people say them', () => {
    const shown = [0.04, 9.96, 59.4, 200, 7500].map(formatSeconds)
    assert.deepEqual(shown, ['0.0 s', '10 s', '59 s', '3 min 20 s', '2 h 5 min'])
  })
})
