import { existsSync } from 'node:fs'
import { mkdir, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { removeLeftovers } from '../../cluster/index.ts'
import { isAlive, ownIdentity } from '../../cluster/process-identity.ts'

/** A file system in memory: what a disk takes for a write is nobody's doing in a bench. */
export const MEMORY = '/dev/shm'

export interface BenchFolder extends AsyncDisposable {
  readonly path: string
}

/** In memory: where the machine has a place for that. */
export type FolderPlace = 'disk' | 'memory'

let made = 0

/**
 * Makes a folder that is gone when it is disposed of. What killed benches left is removed first, with the clusters that they
 * kept there.
 */
export async function benchFolder(
  place: FolderPlace,
  report: (line: string) => void,
): Promise<BenchFolder> {
  const parent = place === 'memory' && existsSync(MEMORY) ? MEMORY : tmpdir()
  await removeLeft(parent, report)
  const { pid, startTime } = ownIdentity()
  made += 1
  const path = join(parent, `kip-bench-${pid}-${startTime}-${made}`)
  await mkdir(path, { mode: 0o700 })
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 5 }),
  }
}

async function removeLeft(parent: string, report: (line: string) => void): Promise<void> {
  for (const name of await readdir(parent)) {
    const [, pid, startTime = ''] = /^kip-bench-(\d+)-(\d+)-\d+$/.exec(name) ?? []
    if (pid === undefined || isAlive({ pid: Number(pid), startTime })) continue
    const path = join(parent, name)
    if ((await stat(path).catch(() => undefined))?.uid !== process.getuid?.()) continue
    report(`${path} was left by a bench that is gone: removing it`)
    await removeClusters(path, report)
    await rm(path, { recursive: true, force: true, maxRetries: 5 })
  }
}

/** Clusters are found by the folder that they are kept in alone. */
async function removeClusters(home: string, report: (line: string) => void): Promise<void> {
  const before = process.env.XDG_STATE_HOME
  process.env.XDG_STATE_HOME = home
  try {
    await removeLeftovers({ report })
  } finally {
    if (before === undefined) delete process.env.XDG_STATE_HOME
    else process.env.XDG_STATE_HOME = before
  }
}
