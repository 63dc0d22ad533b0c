import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { after, before, describe, it } from 'node:test'

const root = new URL('../../../', import.meta.url).pathname

/** Says when it may be stopped and when it is, and cleans up for longer than signals need to come again. */
const program = `
  import { setTimeout as delay } from 'node:timers/promises'
  import { stopOnce } from ${JSON.stringify(`${root}test/cluster/stop-once.ts`)}
  const stop = stopOnce()
  const working = setInterval(() => undefined, 1000)
  console.log('working')
  stop.addEventListener('abort', async () => {
    console.log('stopping')
    await delay(300)
    clearInterval(working)
    console.log('clean: ' + stop.reason.message)
    process.exitCode = 3
  })
`

describe('a command that a time limit or Ctrl-C stops', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-stop-'))
    await writeFile(join(folder, 'program.ts'), program)
  })
  after(() => rm(folder, { recursive: true, force: true }))

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    it(`leaves nothing behind, though ${signal} comes by the process group and by its parent`, async () => {
      const script = relative(root, join(folder, 'program.ts'))
      const child = spawn(process.execPath, [join(root, 'start.mjs'), script], {
        cwd: root,
        // As a shell starts a job: a group of its own, which the terminal and `timeout` signal as a whole.
        detached: true,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      let output = ''
      child.stdout.setEncoding('utf8').on('data', (text: string) => {
        output += text
        if (/working|stopping/.test(text)) process.kill(-(child.pid ?? 0), signal)
      })
      const [code] = await once(child, 'close')
      assert.equal(output, `working\nstopping\nclean: stopped by ${signal}\n`)
      assert.equal(code, 3)
    })
})
