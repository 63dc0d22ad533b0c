import { existsSync } from 'node:fs'

/** What this machine lacks to run nodes, in words that name it; undefined: nothing. */
export function missingForNodes(): string | undefined {
  if (process.platform !== 'linux') return `Linux, and this is ${process.platform}`
  if (process.getuid?.() !== 0) return 'root, for namespaces and mounts'
  if (!existsSync('/proc/self/ns/net')) return 'network namespaces in the kernel'
  if (!existsSync('/sys/fs/cgroup')) return 'cgroups at /sys/fs/cgroup'
  return undefined
}
