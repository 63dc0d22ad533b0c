/** The program on processors that this machine has not, built with Debian's cross compilers and run by qemu. */
import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { buildSleep, hostArchitecture } from '../../../sleep/build.ts'
import { ensurePackages } from '../../cluster/packages.ts'
import { reportToStderr } from '../../cluster/progress.ts'

/** By Debian: the compiler, the kernel's headers; by qemu: its program. And the number of the ELF machine. */
const processors = {
  amd64: ['gcc-x86-64-linux-gnu', 'linux-libc-dev-amd64-cross', 'qemu-x86_64', 62],
  arm64: ['gcc-aarch64-linux-gnu', 'linux-libc-dev-arm64-cross', 'qemu-aarch64', 183],
  ppc64le: ['gcc-powerpc64le-linux-gnu', 'linux-libc-dev-ppc64el-cross', 'qemu-ppc64le', 21],
  s390x: ['gcc-s390x-linux-gnu', 'linux-libc-dev-s390x-cross', 'qemu-s390x', 22],
} as const

const foreign = (Object.keys(processors) as (keyof typeof processors)[]).filter(
  (name) => name !== hostArchitecture(),
)
const packages = foreign.flatMap((name) => processors[name].slice(0, 2) as string[])
const missing = await ensurePackages([...packages, 'qemu-user'], { report: reportToStderr }).then(
  () => false as const,
  (error: Error) => `no cross compilers or no qemu: ${error.message}`,
)

for (const architecture of foreign) {
  const [, , qemu, machine] = processors[architecture]
  describe(`sleep on ${architecture}`, { skip: missing }, () => {
    let folder = ''
    let program = ''

    before(async () => {
      folder = mkdtempSync(join(tmpdir(), `kip-sleep-${architecture}-`))
      program = join(folder, 'sleep')
      await buildSleep({ output: program, architecture })
    })
    after(() => rmSync(folder, { recursive: true, force: true }))

    const run = (...args: string[]) =>
      spawnSync(qemu, [program, ...args], { encoding: 'utf8', timeout: 20_000 })

    it('is a small static program of that processor', () => {
      const elf = readFileSync(program)
      const isLittle = elf[5] === 1
      assert.equal(isLittle ? elf.readUInt16LE(18) : elf.readUInt16BE(18), machine)
      // The least page of a segment is 64 KiB on some; code and data are some 4 KB everywhere.
      assert.ok(statSync(program).size <= 8192, `${statSync(program).size} bytes`)
    })

    for (const duration of ['0s', '1.5ms', '0.00001h', '20ms10000us']) {
      it(`waits for ${duration}`, () => {
        const { status, stderr } = run(duration)
        assert.deepEqual({ status, stderr }, { status: 0, stderr: '' })
      })
    }

    it('refuses what is no duration, with code 255 and its usage', () => {
      for (const args of [['1x'], [], ['99999999999999999999ns']]) {
        const { status, stderr } = run(...args)
        assert.equal(status, 255)
        assert.match(stderr, /usage: sleep DURATION/)
      }
    })

    for (const duration of ['720h', 'infinity']) {
      it(`ends ${duration} at once on SIGTERM, with code 0`, async () => {
        const child = spawn(qemu, [program, duration], { stdio: 'ignore' })
        const ended = once(child, 'exit')
        await once(child, 'spawn')
        await untilAsleep(child.pid ?? 0)
        child.kill('SIGTERM')
        assert.deepEqual(await ended, [0, null])
      })
    }

    it('copies itself', () => {
      const copy = join(folder, 'copy')
      assert.equal(run('copy', copy).status, 0)
      assert.deepEqual(readFileSync(copy), readFileSync(program))
      assert.equal(statSync(copy).mode & 0o7777, 0o755)
      assert.equal(spawnSync(qemu, [copy, '0s']).status, 0)
    })
  })
}

/** Until qemu has translated the program, which then waits: it sleeps, and has had the time. */
async function untilAsleep(pid: number): Promise<void> {
  for (let tries = 0; tries < 2500; tries++) {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8')
    if (/^State:\tS/m.test(status) && tries > 50) return
    await delay(4)
  }
}
