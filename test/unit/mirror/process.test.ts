import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { defaultSettings } from '../../../src/config/leaves.ts'
import { keepMirrorProcess } from '../../../src/mirror/process.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

/** Tells its own life's beginning, and of its environment, as the outcome of a copy, and lives until it is told to end. */
const program = `
const { KIP_KEPT, MALLOC_TRIM_THRESHOLD_ } = process.env
process.on('message', ({ id }) => {
  const reference = [id, KIP_KEPT, MALLOC_TRIM_THRESHOLD_].join(' ')
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
  const stop = new AbortController()
  const ended = keepMirrorProcess(
    {
      ...{ program: file, settings: defaultSettings, identity: 'leader', idleMs: 20 },
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
  assert.equal(followers.size, 0)
})
