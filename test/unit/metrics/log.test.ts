import assert from 'node:assert/strict'
import { type StdioOptions, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { describe, it } from 'node:test'
import { createLog, type LogLevel } from '../../../src/metrics/log.ts'

function lines(
  write: (log: ReturnType<typeof createLog>) => void,
  level: LogLevel = 'info',
): Record<string, unknown>[] {
  const out: string[] = []
  write(createLog({ level }, { write: (line: string) => out.push(line) }))
  return out.map((line) => JSON.parse(line))
}

function onlyLine(write: (log: ReturnType<typeof createLog>) => void): Record<string, unknown> {
  const [line, ...rest] = lines(write)
  assert.ok(line)
  assert.equal(rest.length, 0)
  return line
}

describe('createLog', () => {
  it('writes one JSON object a line, with level by name, time and the fields of the child', () => {
    const line = onlyLine((log) =>
      log.child({ component: 'mirror' }).info({ image: 'docker.io/library/nginx:1' }, 'copied'),
    )
    const { time, ...rest } = line
    assert.match(String(time), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
    assert.deepEqual(rest, {
      level: 'info',
      component: 'mirror',
      image: 'docker.io/library/nginx:1',
      msg: 'copied',
    })
  })

  it('writes nothing below its level', () => {
    const write = (log: ReturnType<typeof createLog>): void => log.info('x')
    assert.equal(lines(write, 'warn').length, 0)
    assert.equal(lines(write, 'debug').length, 1)
  })

  it('never writes a credential, at whatever level it hangs', () => {
    const secret = 'hunter2'
    const line = onlyLine((log) =>
      log.info(
        {
          password: secret,
          headers: { authorization: `Bearer ${secret}`, accept: 'x' },
          request: { options: { token: secret, Authorization: secret } },
          credential: { username: 'me', password: secret },
          err: Object.assign(new Error(`GET https://me:${secret}@host/v2/: 401`), {
            token: secret,
            options: { headers: { authorization: secret } },
            cause: new Error(`at http://${secret}@host`),
          }),
        },
        'asked',
      ),
    )
    assert.doesNotMatch(JSON.stringify(line), /hunter2/)
    assert.deepEqual(line.headers, { authorization: '[redacted]', accept: 'x' })
  })

  it('keeps code, scalar fields and causes of an error', () => {
    const cause = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' })
    const error = Object.assign(new Error('origin.test: down', { cause }), {
      name: 'RegistryError',
      code: 'COPY_UNREACHABLE',
      host: 'origin.test',
      retryable: true,
      response: { body: 'bytes of an answer' },
    })
    const line = onlyLine((log) => log.warn({ err: error }, 'not copied'))
    assert.deepEqual(line.err, {
      type: 'RegistryError',
      message: 'origin.test: down',
      code: 'COPY_UNREACHABLE',
      host: 'origin.test',
      retryable: true,
      cause: { type: 'Error', message: 'connect ECONNREFUSED', code: 'ECONNREFUSED' },
    })
  })

  it('keeps the stack of an unexpected error, the parts of an aggregate, and ends at a cycle', () => {
    const cyclic = new Error('round')
    cyclic.cause = cyclic
    const error = new AggregateError([new Error('one'), 'two', cyclic], 'several')
    const line = onlyLine((log) => log.error({ err: error }, 'failed'))
    const err = line.err as { stack: string; errors: { message: string }[] }
    assert.match(err.stack, /log\.test\.ts/)
    assert.deepEqual(
      err.errors.map(({ message }) => message),
      ['one', 'two', 'round'],
    )
  })
})

/** Runs a program whose standard output is on a full disk; gives what it says on standard error, and its exit code. */
async function runOnFullDisk(program: string): Promise<readonly [string, number | null]> {
  const module = new URL('../../../src/metrics/log.ts', import.meta.url).href
  const imports = `import { createLog, standardOutput } from ${JSON.stringify(module)}\n`
  const flags = ['--input-type=module-typescript', '-e', imports + program]
  const full = openSync('/dev/full', 'w')
  const stdio: StdioOptions = ['ignore', full, 'pipe']
  // One that never ends has no exit code.
  const child = spawn(process.execPath, flags, { stdio, timeout: 60_000, killSignal: 'SIGKILL' })
  let said = ''
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const [code] = await once(child, 'close')
  closeSync(full)
  return [said, code]
}

describe('standard output', () => {
  it('that is on a full disk ends no program, and is told of once', async () => {
    const ended = await runOnFullDisk(`
      const log = createLog({ level: 'info' }, standardOutput(({ code }) => console.error(code)))
      for (let line = 0; line < 20_000; line++) log.info({ line, text: 'x'.repeat(1_000) }, 'said')
      const { rss } = process.memoryUsage()
      console.error(rss < 400e6 ? 'goes on' : rss)
    `)
    assert.deepEqual(ended, ['ENOSPC\ngoes on\n', 0])
  })

  it('that is on a full disk does not keep a program that crashes from its end', async () => {
    const ended = await runOnFullDisk(`
      const log = createLog({ level: 'info' }, standardOutput())
      log.info({}, 'begins')
      log.fatal({}, 'ends')
      process.exit(1)
    `)
    assert.deepEqual(ended, ['', 1])
  })
})
