import { readdirSync } from 'node:fs'
import { rmdir } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const ROOT = '/sys/fs/cgroup'

/** Name of a node's cgroup in each hierarchy; `id` tells clusters of one name apart. */
export function nodeCgroup(id: string, node: string): string {
  return `kip-${id}-${node}`
}

/** All cgroups of a cluster: one for each node and hierarchy. */
export function clusterCgroups(id: string): readonly string[] {
  const own = (folder: string) =>
    list(folder)
      .filter((name) => name.startsWith(`kip-${id}-`))
      .map((name) => join(folder, name))
  return [...own(ROOT), ...list(ROOT).flatMap((name) => own(join(ROOT, name)))]
}

/** Removes the cgroups of a cluster, whose processes were just killed. */
export async function removeCgroups(id: string): Promise<void> {
  for (const folder of clusterCgroups(id)) await removeTree(folder)
}

async function removeTree(folder: string): Promise<void> {
  for (const name of list(folder)) await removeTree(join(folder, name))
  const deadline = performance.now() + 5_000
  for (;;) {
    try {
      return await rmdir(folder)
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? error.code : ''
      if (code === 'ENOENT') return
      // The kernel takes a moment to let go of a process that was killed.
      if (code !== 'EBUSY' || performance.now() > deadline) throw error
      await delay(20)
    }
  }
}

function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .map(({ name }) => name)
  } catch {
    return []
  }
}
