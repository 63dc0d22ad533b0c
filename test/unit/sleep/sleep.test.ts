import assert from 'node:assert/strict'
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { buildSleep, hostArchitecture } from '../../../sleep/build.ts'
import { ensurePackages } from '../../cluster/packages.ts'
import { reportToStderr } from '../../cluster/progress.ts'

const missing = await whyNoCompiler()

async function whyNoCompiler(): Promise<string | undefined> {
  if (!hostArchitecture()) return `probe failed: sleep is not ported to ${process.arch}`
  if (!spawnSync('gcc', ['--version']).error) return undefined
  return ensurePackages(['gcc', 'linux-libc-dev'], { report: reportToStderr }).then(
    () => undefined,
    (error) => `probe failed: gcc --version (${error.message})`,
  )
}

describe('sleep', { skip: missing ?? false }, () => {
  let folder = ''
  let program = ''
  const children = new Set<ChildProcess>()

  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'kip-sleep-'))
    program = join(folder, 'sleep')
    await buildSleep({ output: program })
  })
  after(() => {
    for (const child of children) child.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })

  const run = (...args: string[]) => {
    const begin = performance.now()
    const done = spawnSync(program, args, { encoding: 'utf8', timeout: 20_000 })
    return { ...done, elapsedMs: performance.now() - begin }
  }

  /** A child that has become the program and sleeps: nothing but its wait makes it sleep. */
  const waiting = async (command: string, args: readonly string[]): Promise<ChildProcess> => {
    const child = spawn(command, args, { stdio: 'ignore' })
    children.add(child)
    await once(child, 'spawn')
    for (let tries = 0; tries < 2500; tries++) {
      const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
      if (/^Name:\tsleep\nUmask:.*\nState:\tS/.test(status) && runsProgram(child)) return child
      await delay(2)
    }
    throw new Error(`${command} ${args.join(' ')} did not come to wait`)
  }
  const runsProgram = (child: ChildProcess) =>
    readlinkSync(`/proc/${child.pid}/exe`).startsWith(folder)

  it('is a static program of at most 4 KB', () => {
    assert.ok(statSync(program).size <= 4096, `${statSync(program).size} bytes`)
    const elf = readFileSync(program)
    const headers = Number(elf.readBigUInt64LE(32))
    const kinds = Array.from({ length: elf.readUInt16LE(56) }, (_, i) =>
      elf.readUInt32LE(headers + i * 56),
    )
    assert.ok(!kinds.includes(3), 'it asks for no interpreter (PT_INTERP)')
  })

  for (const [duration, atLeastMs] of [
    ['0s', 0],
    ['0', 0],
    ['-5h', 0],
    ['+1ns', 0],
    ['1us', 0],
    ['1µs', 0],
    ['1μs', 0],
    ['30ms', 30],
    ['.03s', 30],
    ['0.030s', 30],
    ['0.0005m', 30],
    ['0.00001h', 36],
    ['20ms10000us', 30],
    ['0h0m0.030s', 30],
  ] as const) {
    it(`waits for ${duration}`, () => {
      const { status, stderr, elapsedMs } = run(duration)
      assert.equal(stderr, '')
      assert.equal(status, 0)
      assert.ok(elapsedMs >= atLeastMs, `${elapsedMs} ms`)
      assert.ok(elapsedMs < atLeastMs + 2000, `${elapsedMs} ms`)
    })
  }

  for (const wrong of [
    '',
    '-',
    '.',
    's',
    '.s',
    '5',
    '1.5',
    '1x',
    '1mm',
    '1.2.3s',
    '1s5',
    '1 s',
    '1e3s',
    'Infinity',
    '1S',
    '9223372037s',
    '99999999999999999999ns',
  ]) {
    it(`refuses ${JSON.stringify(wrong)} as a duration, with code 255`, () => {
      const { status, stderr } = run(wrong)
      assert.equal(status, 255)
      assert.match(stderr, /^sleep: not a duration: /)
      assert.match(stderr, /usage: sleep DURATION/)
    })
  }

  for (const args of [[], ['1s', '2s'], ['copy'], ['copy', ''], ['copy', 'a', 'b']]) {
    it(`refuses the arguments ${JSON.stringify(args)} with code 255`, () => {
      const { status, stderr } = run(...args)
      assert.equal(status, 255)
      assert.match(stderr, /usage: sleep DURATION/)
    })
  }

  for (const duration of ['720h', '2562047h47m16.854775807s', 'infinity'])
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGWINCH'] as const) {
      it(`ends ${duration} at once on ${signal}, with code 0`, async () => {
        const child = await waiting(program, [duration])
        const begin = performance.now()
        child.kill(signal)
        const [code, by] = await once(child, 'exit')
        assert.deepEqual({ code, by }, { code: 0, by: null })
        assert.ok(performance.now() - begin < 1000)
      })
    }

  it('goes on waiting through signals that end no process, for as long as it was told', async () => {
    const begin = performance.now()
    const child = await waiting(program, ['150ms'])
    const exit = once(child, 'exit')
    for (const signal of ['SIGCONT', 'SIGURG', 'SIGCHLD', 'SIGTSTP'] as const) child.kill(signal)
    assert.deepEqual(await exit, [0, null])
    assert.ok(performance.now() - begin >= 150)
  })

  for (const [when, script] of [
    ['while it waits', '(/bin/sleep 0.05) & exec "$0" 20s'],
    ['before it began', 'true & /bin/sleep 0.05; exec "$0" 20s'],
  ] as const) {
    it(`reaps a child that it inherited and that ended ${when}`, async () => {
      const child = await waiting('/bin/sh', ['-c', script, program])
      const left = () =>
        readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, 'utf8').trim()
      const patience = performance.now() + 5000
      while (left() && performance.now() < patience) await delay(5)
      assert.equal(left(), '')
      assert.equal(child.exitCode, null, 'and waits on')
      child.kill()
      await once(child, 'exit')
    })
  }

  it('copies itself, executable whatever the umask, leaving nothing else behind', () => {
    const target = mkdtempSync(join(folder, 'volume-'))
    const copy = join(target, 'sleep')
    execFileSync('/bin/sh', ['-c', 'umask 0777; exec "$0" copy "$1"', program, copy])
    assert.deepEqual(readFileSync(copy), readFileSync(program))
    assert.equal(statSync(copy).mode & 0o7777, 0o755)
    assert.deepEqual(readdirSync(target), ['sleep'])
    assert.equal(spawnSync(copy, ['0s']).status, 0)
  })

  it('copies over an older copy that is running', async () => {
    const target = mkdtempSync(join(folder, 'volume-'))
    const copy = join(target, 'sleep')
    writeFileSync(copy, readFileSync(program))
    chmodSync(copy, 0o755)
    const old = await waiting(copy, ['infinity'])
    assert.equal(run('copy', copy).status, 0)
    assert.equal(spawnSync(copy, ['0s']).status, 0)
    old.kill()
    assert.deepEqual(await once(old, 'exit'), [0, null])
  })

  it('says what it could not write, with code 1, and leaves nothing', () => {
    const target = mkdtempSync(join(folder, 'volume-'))
    const absent = run('copy', join(target, 'absent', 'sleep'))
    assert.equal(absent.status, 1)
    assert.equal(
      absent.stderr,
      `sleep: cannot write ${join(target, 'absent', 'sleep')}.new: error 2\n`,
    )
    const long = run('copy', `/${'a'.repeat(4100)}`)
    assert.equal(long.status, 1)
    assert.match(long.stderr, /error 36\n$/)
    const folderInTheWay = run('copy', target)
    assert.equal(folderInTheWay.status, 1)
    assert.match(folderInTheWay.stderr, /cannot rename .* error 21\n$/)
    assert.deepEqual(
      readdirSync(folder).filter((name) => name.endsWith('.new')),
      [],
    )
  })

  it('needs no more than some kilobytes of memory', async () => {
    const child = await waiting(program, ['infinity'])
    const status = await new Promise<string>((resolve, reject) =>
      execFile('/bin/cat', [`/proc/${child.pid}/status`], (error, text) =>
        error ? reject(error) : resolve(text),
      ),
    )
    const anonymous = Number(/^RssAnon:\s+(\d+) kB/m.exec(status)?.[1])
    assert.ok(anonymous <= 32, `RssAnon ${anonymous} kB`)
    child.kill()
    await once(child, 'exit')
  })
})
