import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { describe, it } from 'node:test'

const module = new URL('../../../src/stop-signal.ts', import.meta.url).href

/** Says when it may be stopped and, when timers of 0 ms have fired, that it is; ends when its input does. */
const program = (sameMs: number): string => `
  import { stopSignal } from ${JSON.stringify(module)}
  const stop = stopSignal(${sameMs})
  stop.addEventListener('abort', () => setTimeout(() => console.log(stop.reason.message), 20))
  process.stdin.on('data', (text) => console.log('goes on')).on('end', () => process.exit(3))
  console.log('working')
`

/** What the program said and how it ended, when it was stopped once and once more when it knew. */
async function stoppedTwice(sameMs: number): Promise<readonly unknown[]> {
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program(sameMs)], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  let output = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text
    if (text.includes('working')) child.kill('SIGINT')
    if (text.includes('stopped')) {
      child.kill('SIGINT')
      child.stdin.write('?')
    }
    if (text.includes('goes on')) child.stdin.end()
  })
  child.stdin.on('error', () => undefined)
  const [code, signal] = await once(child, 'close')
  return [output, code, signal]
}

describe('a process that is stopped', () => {
  it('takes a signal that comes again for the same one', async () => {
    const seen = await stoppedTwice(600_000)
    assert.deepEqual(seen, ['working\nstopped by SIGINT\ngoes on\n', 3, null])
  })

  it('ends at once by one that comes later', async () => {
    const [, code, signal] = await stoppedTwice(0)
    assert.deepEqual([code, signal], [null, 'SIGINT'])
  })
})
