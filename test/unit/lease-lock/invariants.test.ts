import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'

const read = (path: string): Promise<string> =>
  readFile(new URL(`../../../${path}`, import.meta.url), 'utf8')

test('every invariant of the README has a test that bears its number', async () => {
  const [, list = ''] = (await read('src/lease-lock/README.md')).split('## Invariants')
  const promised = [...list.matchAll(/^(\d+)\. /gm)].map(([, number]) => Number(number))
  const tests = await Promise.all(
    [
      'test/unit/lease-lock/elector.test.ts',
      'test/unit/lease-lock/property.test.ts',
      'test/interop/lease.test.ts',
    ].map(read),
  )
  const borne = tests.flatMap((text) =>
    [...text.matchAll(/(?:test|describe)\(\s*['`]\[([\d, ]+)\]/g)].flatMap(([, numbers = '']) =>
      numbers.split(',').map(Number),
    ),
  )
  assert.equal(promised.length, 23)
  assert.deepEqual(
    [...new Set(borne)].sort((a, b) => a - b),
    promised,
  )
})
