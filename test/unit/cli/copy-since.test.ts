import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { datedJson, datedLine } from '../../../src/cli/copy/created-since.ts'
import { parseSince } from '../../../src/cli/copy/since.ts'

const now = Date.UTC(2026, 2, 31, 12)
const read = (text: string): string => {
  const since = parseSince(text, now)
  return since instanceof Date ? since.toISOString() : since
}

describe('the moment since when images are to be made', () => {
  const moments = {
    '12h': '2026-03-31T00:00:00.000Z',
    '30d': '2026-03-01T12:00:00.000Z',
    '4w': '2026-03-03T12:00:00.000Z',
    '0h': '2026-03-31T12:00:00.000Z',
    '2026-01-31': '2026-01-31T00:00:00.000Z',
    '2024-02-29': '2024-02-29T00:00:00.000Z',
    '2026-01-31T12:00Z': '2026-01-31T12:00:00.000Z',
    '2026-01-31T12:00:30.5+02:00': '2026-01-31T10:00:30.500Z',
  }
  for (const [text, moment] of Object.entries(moments))
    test(`is written ${text}`, () => assert.equal(read(text), moment))

  // Months are of no length, a minute is a month's letter, and a time without a zone is another one elsewhere.
  const faults = ['', '30', '30m', '2y', '-1d', '1.5d', 'yesterday', '2026', '2026-1-31']
  const dates = ['2026-02-30', '2025-02-29', '2026-13-01', '2026-01-31T12:00', '2026-01-31T25:00Z']
  for (const text of [...faults, ...dates])
    test(`is not written "${text}"`, () =>
      assert.match(read(text), /^give a date like .* age like/))

  test('is not in the future, by which nothing would be selected without a word', () => {
    assert.equal(read('2026-04-01'), 'is in the future')
  })
})

describe('what is told of tags whose age was asked for', () => {
  const source = { registry: 'a.test', repository: 'app' }
  const pair = { source, target: { registry: 'b.test', repository: 'app' } }
  const createdSince = new Date(now)

  test('is how many there are, and who does not say', () => {
    const dated = { createdSince, tags: 9, selected: 5, undated: ['x', 'y'] }
    assert.equal(
      datedLine(pair, dated),
      'a.test/app -> b.test/app: 3 of 9 tags made since 2026-03-31T12:00:00.000Z; selected too, since they do not say when they were made: x, y',
    )
    assert.deepEqual(JSON.parse(datedJson(pair, dated)), {
      ...{ type: 'created-since', source: 'a.test/app', target: 'b.test/app' },
      ...{ createdSince: '2026-03-31T12:00:00.000Z', tags: 9, selected: 5, undated: ['x', 'y'] },
    })
  })

  test('has no line that fills the screen', () => {
    const undated = Array.from({ length: 300 }, (_, i) => `tag${i}`)
    const line = datedLine(pair, { createdSince, tags: 300, selected: 300, undated })
    assert.match(line, /: 0 of 300 .*: tag0, .*, tag19 and 280 more$/)
  })
})
