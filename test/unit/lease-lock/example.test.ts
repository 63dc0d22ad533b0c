import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const example = fileURLToPath(
  new URL('../../../src/lease-lock/example/two-candidates.ts', import.meta.url),
)

test('the example of the README runs, and hands over', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, [example])
  const turns = stdout.split('\n').filter((line) => line !== '' && !line.endsWith(' works'))
  const [first = '', second = ''] = turns[0]?.startsWith('a') ? ['a', 'b'] : ['b', 'a']
  assert.deepEqual(turns, [
    `${first} leads, term 1`,
    `${first} stops`,
    ...(first === 'a' ? [`${second} leads, term 2`, `${second} stops`] : []),
  ])
})
