import { existsSync, readFileSync } from 'node:fs'
import { mkdir, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

const ROOT = '/sys/fs/cgroup'
/** What Kubernetes gives a container, in microseconds. */
const PERIOD = 100_000

/** A control group as the kubelet makes one for a container with a CPU limit; of version 2 or 1. */
export interface CpuLimit extends AsyncDisposable {
  /** A command line that runs the rest inside. */
  enter(command: readonly string[]): readonly string[]
  /** From now on all processes inside use no more than so many cores together; undefined: no limit. */
  set(cores: number | undefined): Promise<void>
}

/** Makes an empty group without a limit; needs root. Its processes have to be gone when it is disposed of. */
export async function createCpuLimit(name: string): Promise<CpuLimit> {
  const isVersionTwo = existsSync(join(ROOT, 'cgroup.controllers'))
  const folders = isVersionTwo ? [join(ROOT, name)] : versionOneFolders(name)
  if (isVersionTwo) await writeFile(join(ROOT, 'cgroup.subtree_control'), '+cpu')
  for (const folder of folders) await mkdir(folder)
  return {
    enter: (command) => {
      const files = folders.map((folder) => join(folder, 'cgroup.procs'))
      const join_ = 'while [ "$1" != -- ]; do echo $$ > "$1"; shift; done; shift; exec "$@"'
      return ['sh', '-c', join_, 'sh', ...files, '--', ...command]
    },
    set: async (cores) => {
      const quota = cores === undefined ? undefined : Math.round(cores * PERIOD)
      for (const folder of folders) {
        const max = join(folder, 'cpu.max')
        const cfs = join(folder, 'cpu.cfs_quota_us')
        if (isVersionTwo) await writeFile(max, `${quota ?? 'max'} ${PERIOD}`)
        else if (existsSync(cfs)) await writeFile(cfs, `${quota ?? -1}`)
      }
    },
    [Symbol.asyncDispose]: async () => {
      for (const folder of folders) await removeEmpty(folder)
    },
  }
}

/** Quota and use are two controllers there, mounted together or apart. */
function versionOneFolders(name: string): readonly string[] {
  const hierarchies = readFileSync('/proc/self/cgroup', 'utf8')
    .split('\n')
    .map((line) => line.split(':')[1] ?? '')
    .filter((controllers) => /\b(cpu|cpuacct)\b/.test(controllers))
  return hierarchies.map((controllers) => join(ROOT, controllers, name))
}

/** The kernel takes a moment to forget a process that has ended. */
async function removeEmpty(folder: string): Promise<void> {
  for (let tries = 50; ; tries--) {
    try {
      await rmdir(folder)
      return
    } catch (error) {
      if (tries === 0) throw error
      await delay(100)
    }
  }
}
