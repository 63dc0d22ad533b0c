import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { withLock } from '../../cluster/lock.ts'
import { Daemons } from '../../cluster/process.ts'
import { childrenOf, isAlive } from '../../cluster/process-identity.ts'

describe('the daemons of a cluster', () => {
  let folder: string
  let daemons: Daemons
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-daemons-'))
    daemons = new Daemons({ folder })
  })
  after(async () => {
    for (const name of daemons.names()) await daemons.stop(name)
    await rm(folder, { recursive: true })
  })

  it('are known to whoever knows the folder', async () => {
    const started = await daemons.start({ name: 'plain', command: ['sleep', '60'] })
    const other = new Daemons({ folder })
    assert.deepEqual(other.identity('plain'), daemons.identity('plain'))
    assert.equal((await other.start({ name: 'plain', command: ['false'] })).pid, started.pid)
    assert.equal(await other.stop('plain'), true)
    assert.equal(isAlive(started), false)
    assert.equal(daemons.isRunning('plain'), false)
    assert.equal(await daemons.stop('plain'), false)
  })

  it('are the program itself where a launcher stays as its parent', async () => {
    const command = ['sh', '-c', 'sleep 60; true'] as const
    const { pid } = await daemons.start({ name: 'forked', command: [...command], forks: true })
    assert.deepEqual(childrenOf(pid), [])
    await daemons.stop('forked')
    assert.equal(daemons.names().includes('forked'), false)
  })

  it('get time to end when they are asked to, and no more than that', async () => {
    const deaf = 'trap "" TERM; echo ready; while :; do sleep 0.05; done'
    const start = async () => {
      const started = await daemons.start({ name: 'deaf', command: ['sh', '-c', deaf] })
      await daemons.waitUntil({
        what: 'trap',
        needs: ['deaf'],
        check: async () => daemons.logTail('deaf').includes('ready'),
        timeoutMs: 5_000,
      })
      return started
    }
    const started = await start()
    const before = performance.now()
    await daemons.stop('deaf', { signal: 'SIGTERM', graceMs: 200 })
    assert.ok(performance.now() - before >= 200)
    assert.equal(isAlive(started), false)
  })

  it('show the end of their log when they end too early, or are too slow', async () => {
    const wait = (name: string, timeoutMs: number) =>
      daemons.waitUntil({ what: 'answer', needs: [name], check: async () => false, timeoutMs })
    await daemons.start({ name: 'short', command: ['sh', '-c', 'echo because; sleep 0.1'] })
    await assert.rejects(wait('short', 5_000), {
      code: 'KIP_CLUSTER_COMPONENT',
      message: `short ended while waiting for answer; the end of ${daemons.logFile('short')}:\nbecause`,
    })
    await daemons.start({ name: 'slow', command: ['sleep', '60'] })
    await assert.rejects(wait('slow', 100), /^ClusterError: slow gave no answer after 0.1 s/)
    await daemons.stop('slow')
  })
})

describe('a lock', () => {
  it('lets one in at a time, and goes on after a failure', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kip-lock-'))
    try {
      let inside = 0
      let most = 0
      const work = async () => {
        most = Math.max(most, ++inside)
        await new Promise((resolve) => setImmediate(resolve))
        inside--
        throw new Error('failed inside')
      }
      const path = join(folder, 'lock')
      const all = await Promise.allSettled([1, 2, 3].map(() => withLock(path, work)))
      assert.ok(all.every(({ status }) => status === 'rejected'))
      assert.equal(most, 1)
      assert.equal(await withLock(path, async () => 'free'), 'free')
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  it('is not waited for once the caller gives up', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'kip-lock-'))
    const path = join(folder, 'lock')
    try {
      await withLock(path, async () => {
        const signal = AbortSignal.timeout(50)
        await assert.rejects(
          withLock(path, async () => assert.fail('both are in'), { signal }),
          { name: 'TimeoutError' },
        )
      })
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})
