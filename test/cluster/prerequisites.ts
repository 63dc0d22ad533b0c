import { spawnSync } from 'node:child_process'
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'

const CGROUPS = '/sys/fs/cgroup'

/** Tries what a node does first, in namespaces that are gone with it; says which step failed. */
const TRY_NAMESPACES = `
mount -t tmpfs tmpfs /run || { echo "mounts of its own"; exit 1; }
mkdir /run/lower /run/upper /run/work /run/merged
mount -t overlay -o lowerdir=/run/lower,upperdir=/run/upper,workdir=/run/work overlay /run/merged ||
  { echo "overlay file systems"; exit 1; }
ip link add kip type bridge || { echo "network bridges, and ip (package iproute2)"; exit 1; }
`

/** What this machine lacks to run nodes, in words that name it; undefined: nothing. */
export function missingForNodes(): string | undefined {
  if (process.platform !== 'linux') return `Linux, and this is ${process.platform}`
  if (process.getuid?.() !== 0) return 'root, for namespaces and mounts'
  if (!existsSync(CGROUPS)) return `cgroups at ${CGROUPS}`
  if (!cgroupFolders().every(isWritable)) return `cgroups at ${CGROUPS} that may be written`
  const namespaces = ['--net', '--mount', '--pid', '--uts', '--fork', '--propagation=private']
  const tried = spawnSync('unshare', [...namespaces, 'sh', '-c', TRY_NAMESPACES], {
    encoding: 'utf8',
    timeout: 10_000,
  })
  if (tried.error) return 'unshare (package util-linux)'
  if (tried.status === 0) return undefined
  return tried.stdout.trim() || `namespaces of its own (${tried.stderr.trim()})`
}

/** The root of cgroup v2, or of each hierarchy of v1. */
function cgroupFolders(): readonly string[] {
  if (existsSync(join(CGROUPS, 'cgroup.controllers'))) return [CGROUPS]
  return readdirSync(CGROUPS)
    .filter((name) => name !== 'unified')
    .map((name) => join(CGROUPS, name))
}

function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK)
    return true
  } catch {
    return false
  }
}
