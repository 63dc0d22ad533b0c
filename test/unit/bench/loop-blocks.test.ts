import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { watchLoop } from '../../bench/watch/loop-blocks.ts'

const blockMs = 60
const ways: Readonly<Record<string, () => void>> = {
  'by running': () => {
    const { user, system } = process.threadCpuUsage()
    const until = (user + system) / 1000 + blockMs
    for (;;) {
      const now = process.threadCpuUsage()
      if ((now.user + now.system) / 1000 > until) return
    }
  },
  'by sleeping': () => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, blockMs),
}

describe('what watches for blocks of the event loop', () => {
  for (const [way, block] of Object.entries(ways))
    test(`sees one ${way}`, async () => {
      const watch = watchLoop(2)
      await sleep(20)
      block()
      await sleep(20)
      const { longestMs, latestMs } = watch.stop()
      assert.ok(longestMs >= blockMs / 2, `${longestMs} ms of ${blockMs}`)
      assert.ok(latestMs >= longestMs)
    })
})
