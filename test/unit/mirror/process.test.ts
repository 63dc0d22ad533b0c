import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { defaultSettings } from '../../../src/config/leaves.ts'
import type { Settings } from '../../../src/config/settings.ts'
import { keepMirrorProcess } from '../../../src/mirror/process.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

/** Tells its own life's beginning, and of its environment, as the outcome of a copy, and lives until it is told to end. */
const program = `
const { KIP_KEPT, MALLOC_TRIM_THRESHOLD_ } = process.env
process.on('message', ({ id }) => {
  const reference = [id, KIP_KEPT, MALLOC_TRIM_THRESHOLD_].join(' ')
  process.send({ type: 'counters', counters: id })
  process.send({ type: 'outcome', outcome: { reference, state: 'Verified', bytes: 0, seconds: 0 } })
})
process.once('SIGTERM', () => process.exit(0))
`

test('a worker runs only while there is something to copy, and each has a name of its own', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kip-worker-'))
  t.after(() => rm(folder, { recursive: true }))
  const file = join(folder, 'worker.cjs')
  await writeFile(file, program)
  let isOpen = false
  let follows = 0
  const followers = new Set<(isOpen: boolean) => void>()
  const set = (to: boolean) => {
    isOpen = to
    for (const follower of followers) follower(to)
  }
  const named: string[] = []
  const told: string[] = []
  const counted: unknown[][] = []
  const stop = new AbortController()
  const ended = keepMirrorProcess(
    {
      ...{ program: file, settings: defaultSettings, identity: 'leader', idleMs: 20 },
      authorities: () => '',
      env: { ...process.env, MALLOC_TRIM_THRESHOLD_: '131072', KIP_KEPT: 'kept' },
      log: silentLog(),
      work: {
        follow: (follower) => {
          follows += 1
          followers.add(follower)
          follower(isOpen)
          return () => followers.delete(follower)
        },
      },
      onWorker: (id) => named.push(id),
      onOutcome: ({ reference }) => told.push(reference),
      counts: () => {
        const own: unknown[] = []
        counted.push(own)
        return (counters) => own.push(counters)
      },
    },
    stop.signal,
  )
  assert.deepEqual(named, [])
  for (const id of ['leader/1', 'leader/2']) {
    set(true)
    // The idle replica's own setting is not for who copies.
    await waitUntil('the worker works', () => told.at(-1) === `${id} kept `)
    const before = follows
    set(false)
    await waitUntil('the worker has gone, and work is waited for', () => follows > before)
  }
  stop.abort()
  await ended
  assert.deepEqual(named, ['leader/1', 'leader/2'])
  // Each worker begins at 0, so that its counters are held against its own.
  assert.deepEqual(counted, [['leader/1'], ['leader/2']])
  assert.equal(followers.size, 0)
})

/** Keeps a worker of `program` with work to do, until it told of its life, and gives what was logged meanwhile. */
async function keepUntilItWorks(
  t: TestContext,
  options: {
    readonly program?: string
    readonly env?: () => NodeJS.ProcessEnv
    settings?: Settings
  },
) {
  const folder = await mkdtemp(join(tmpdir(), 'kip-worker-'))
  t.after(() => rm(folder, { recursive: true }))
  const file = join(folder, 'worker.cjs')
  await writeFile(file, options.program ?? program)
  const stop = new AbortController()
  const log = silentLog()
  const told: string[] = []
  const ended = keepMirrorProcess(
    {
      ...{ program: file, settings: options.settings ?? defaultSettings, identity: 'leader', log },
      authorities: () => '',
      get env() {
        return options.env?.() ?? process.env
      },
      work: {
        follow: (follower) => {
          follower(true)
          return () => undefined
        },
      },
      onWorker: () => undefined,
      onOutcome: ({ reference }) => told.push(reference),
      counts: () => () => undefined,
    },
    stop.signal,
  )
  // Its failure is the test's.
  await Promise.race([ended, waitUntil('a worker works', () => told.length > 0)])
  stop.abort()
  await ended
  assert.equal(told.length, 1)
  return log.lines.filter(({ level }) => level === 'error').map(({ fields }) => fields)
}

test('a worker that cannot be started is tried again, and ends nothing else', async (t) => {
  // Longer than the kernel takes one variable: the start is refused at once.
  const tooLarge = { ...process.env, KIP_KEPT: 'x'.repeat(1_000_000) }
  let starts = 0
  const errors = await keepUntilItWorks(t, {
    env: () => (starts++ === 0 ? tooLarge : process.env),
  })
  assert.deepEqual(errors, [{ worker: 'leader/1', ended: 'cannot be started: spawn E2BIG' }])
})

test('a worker that the system has no program for is tried again', async (t) => {
  const { execPath } = process
  const restore = () => {
    process.execPath = execPath
  }
  t.after(restore)
  let starts = 0
  const errors = await keepUntilItWorks(t, {
    env: () => {
      if (starts++ === 0) process.execPath = '/no/such/node'
      else restore()
      return process.env
    },
  })
  assert.deepEqual(errors.at(-1), {
    worker: 'leader/1',
    ended: 'cannot be started: spawn /no/such/node ENOENT',
  })
})

test('a worker that dies before it has read its settings is started again', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kip-worker-'))
  t.after(() => rm(folder, { recursive: true }))
  const dying = `
if (!require('node:fs').existsSync(process.env.KIP_KEPT)) {
  require('node:fs').writeFileSync(process.env.KIP_KEPT, '')
  process.exit(3)
}
${program}`
  // More than fits into a pipe, so that some of it is not sent yet.
  const images = 'x'.repeat(10_000_000)
  const errors = await keepUntilItWorks(t, {
    program: dying,
    env: () => ({ ...process.env, KIP_KEPT: join(folder, 'died') }),
    settings: { ...defaultSettings, log: { ...defaultSettings.log, images } } as Settings,
  })
  assert.deepEqual(errors.at(-1), { worker: 'leader/1', ended: 'exit code 3' })
})
