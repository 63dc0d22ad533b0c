import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../../cluster/ports.ts'
import { startFakeKube } from '../../support/fake-kube.ts'
import { kubeconfigOf } from '../../support/kubeconfig.ts'

const main = fileURLToPath(new URL('../../../src/main.ts', import.meta.url))

/** A bug in the midst of what starts the program's parts. */
const thrown = `
import crypto from 'node:crypto'
import { syncBuiltinESMExports } from 'node:module'
const { randomBytes } = crypto
crypto.randomBytes = (size, ...rest) => {
  if (size !== 4) return randomBytes(size, ...rest)
  throw Object.assign(new TypeError('a bug at https://me:hunter2@host'), { token: 'hunter2' })
}
syncBuiltinESMExports()
`

/** One that nobody waits for, by an error of a kind that is expected elsewhere. */
const uncaught = `
process.on('SIGUSR2', () => {
  const fields = { code: 'KIP_KUBE_API', token: 'hunter2' }
  void Promise.reject(Object.assign(new Error('a bug at https://me:hunter2@host'), fields))
})
`

interface End {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs kip with a bug put into it to its end. */
async function runWith(bug: string, t: TestContext): Promise<End> {
  const folder = await mkdtemp(join(tmpdir(), 'kip-last-words-'))
  const kube = await startFakeKube()
  t.after(() => Promise.all([rm(folder, { recursive: true }), kube.stop()]))
  const [kubeconfig, preload] = [join(folder, 'kubeconfig'), join(folder, 'bug.mjs')]
  await writeFile(kubeconfig, kubeconfigOf(kube))
  await writeFile(preload, bug)
  const [port] = await freePorts(1)
  const options = [`--kubeconfig=${kubeconfig}`, `--port=${port}`, '--puller.images=a=r.test/a:1']
  const child = spawn(process.execPath, ['--import', preload, main, 'run', ...options], {
    env: { PATH: process.env.PATH },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let stdout = ''
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (!stdout.includes('mode chosen') && text.includes('mode chosen')) child.kill('SIGUSR2')
    stdout += text
  })
  const [code] = await once(child, 'close')
  return { code, stdout, stderr }
}

describe('a bug that ends the program', { timeout: 60_000 }, () => {
  for (const [kind, bug] of Object.entries({ thrown, uncaught })) {
    it(`is logged once with its stack, and without secrets: ${kind}`, async (t) => {
      const { code, stdout, stderr } = await runWith(bug, t)
      assert.equal(code, 1)
      assert.equal(stderr.includes('a bug'), false, stderr)
      const lines = stdout.split('\n').filter((line) => line.includes('a bug'))
      assert.equal(lines.length, 1, stdout)
      const { level, err } = JSON.parse(lines[0] ?? '')
      assert.equal(level, 'fatal')
      assert.match(err.stack, /a bug at https:\/\/\[redacted\]@host\n +at /)
      assert.doesNotMatch(stdout, /hunter2/)
    })
  }
})
