import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { readToken } from '../../../src/image-copy/src/auth/token-client.ts'

const read = (answer: unknown) => readToken(Buffer.from(JSON.stringify(answer)), 'auth.test')

describe('the answer of a token server', () => {
  const minute = 60_000
  const lives: readonly (readonly [string, object, number])[] = [
    ['says for how long', { expires_in: 300 }, 300_000],
    ['says nothing: a minute, by the specification', {}, minute],
    ['is no number', { expires_in: '300' }, minute],
    ['is over already', { expires_in: 0 }, minute],
    ['is in milliseconds by mistake: a day at most', { expires_in: 300_000_000 }, 86_400_000],
  ]
  for (const [what, answer, lifeMs] of lives)
    test(`its life ${what}`, () => {
      assert.deepEqual(read({ token: 'abc', ...answer }), { value: 'abc', lifeMs })
    })

  test('has the token under either name', () => {
    assert.equal(read({ access_token: 'abc' }).value, 'abc')
  })

  for (const answer of [{}, { token: 7 }, { token: 'a b' }, { token: 'a\r\nX: y' }, null, []])
    test(`holds no usable token: ${JSON.stringify(answer)}`, () => {
      assert.throws(() => read(answer), { code: 'COPY_PROTOCOL', message: /no usable token/ })
    })
})
