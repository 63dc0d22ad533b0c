import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as pass } from 'node:timers/promises'
import { systemClock } from '../../../src/kube/clock.ts'

test('a wait longer than a timer of Node can be does not end at once', async () => {
  const month = 31 * 86_400_000
  const rung: number[] = []
  const cancels = [2 ** 31, month, 1_000 * month, Number.POSITIVE_INFINITY].map((ms) =>
    systemClock.timer(() => rung.push(ms), ms),
  )
  // An overflowing timer fires after 1 ms.
  await pass(20)
  for (const cancel of cancels) cancel()
  assert.deepEqual(rung, [])
})

test('a timer rings once, and not when it was called off', async () => {
  const rung: string[] = []
  systemClock.timer(() => rung.push('kept'), 1)
  systemClock.timer(() => rung.push('called off'), 1)()
  await pass(20)
  assert.deepEqual(rung, ['kept'])
})
