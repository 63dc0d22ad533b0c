import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** The control group that a process shares with others: a container, as a rule. */
export interface CpuCgroup {
  /** Cores that all its processes may use together; undefined: as many as there are. */
  limit(): number | undefined
  /** CPU time that all its processes used so far, in milliseconds. */
  usedMs(): number
}

export type ReadText = (path: string) => string

const readText: ReadText = (path) => readFileSync(path, 'utf8')

const ROOT = '/sys/fs/cgroup'

/**
 * Finds the control group of this process, of version 2 or 1.
 *
 * @returns undefined where there is none that bounds CPU time or tells of it: at the root, or off Linux
 */
export function findCpuCgroup(read: ReadText = readText): CpuCgroup | undefined {
  const memberships = attempt(() => read('/proc/self/cgroup')) ?? ''
  return versionTwo(memberships, read) ?? versionOne(memberships, read)
}

/** cgroup-v2, "CPU Interface Files": `cpu.max` is `$MAX $PERIOD` or `max $PERIOD`, `cpu.stat` has `usage_usec`. */
function versionTwo(memberships: string, read: ReadText): CpuCgroup | undefined {
  const path = /^0::(.*)$/m.exec(memberships)?.[1]
  const folder = path === undefined ? undefined : firstWith('cpu.max', [ROOT], path, read)
  if (folder === undefined) return undefined
  return {
    limit: () => {
      const [quota = 'max', period = ''] = read(join(folder, 'cpu.max')).trim().split(' ')
      return quota === 'max' ? undefined : Number(quota) / Number(period)
    },
    usedMs: () => {
      const used = /^usage_usec (\d+)$/m.exec(read(join(folder, 'cpu.stat')))?.[1]
      return Number(used) / 1_000
    },
  }
}

/** Quota and use are two controllers of version 1, mostly mounted together, as `cpu,cpuacct`. */
function versionOne(memberships: string, read: ReadText): CpuCgroup | undefined {
  const folderOf = (controller: string, file: string): string | undefined => {
    const line = memberships
      .split('\n')
      .find((line) => line.split(':')[1]?.split(',').includes(controller))
    const [, controllers = '', path = ''] = /^\d+:([^:]*):(.*)$/.exec(line ?? '') ?? []
    const mounts = [controller, controllers].map((name) => join(ROOT, name))
    return line === undefined ? undefined : firstWith(file, mounts, path, read)
  }
  const cpu = folderOf('cpu', 'cpu.cfs_quota_us')
  const cpuacct = folderOf('cpuacct', 'cpuacct.usage')
  if (cpu === undefined || cpuacct === undefined) return undefined
  return {
    limit: () => {
      const quota = Number(read(join(cpu, 'cpu.cfs_quota_us')))
      return quota < 0 ? undefined : quota / Number(read(join(cpu, 'cpu.cfs_period_us')))
    },
    // Nanoseconds.
    usedMs: () => Number(read(join(cpuacct, 'cpuacct.usage'))) / 1e6,
  }
}

/** In a container, `/proc` may tell the path on the host while the mount begins at the container's own group. */
function firstWith(
  file: string,
  mounts: readonly string[],
  path: string,
  read: ReadText,
): string | undefined {
  return mounts
    .flatMap((mount) => [join(mount, path), mount])
    .find((folder) => attempt(() => read(join(folder, file))) !== undefined)
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work()
  } catch {
    return undefined
  }
}
