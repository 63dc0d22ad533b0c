import { mkdir, statfs } from 'node:fs/promises'
import { runCommand, tryCommand } from './command.ts'
import { ClusterError } from './errors.ts'
import { MINIMUM_GO } from './versions.ts'

/** What the first build of Kubernetes takes at its peak: modules, build cache, programs. */
const NEEDED_GIGABYTES = 6

export interface GoRun {
  readonly args: readonly string[]
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/**
 * Runs `go` with the settings that make a build the same on every machine.
 *
 * Modules and compiled packages go to Go's own caches, which a later build profits from.
 *
 * @throws ClusterError (KIP_CLUSTER_BUILD) with the end of what Go said
 */
export async function runGo(run: GoRun): Promise<void> {
  try {
    // A build outlives a killed parent for minutes unless the kernel ends it too.
    await runCommand('setpriv', ['--pdeathsig', 'KILL', 'go', ...run.args], {
      cwd: run.cwd,
      env: {
        ...process.env,
        CGO_ENABLED: '0',
        GOTOOLCHAIN: 'local',
        GOFLAGS: '-trimpath -buildvcs=false -mod=readonly',
        GOWORK: 'off',
        ...run.env,
      },
      ...(run.signal && { signal: run.signal }),
    })
  } catch (cause) {
    run.signal?.throwIfAborted()
    const said = cause instanceof Error ? cause.message : String(cause)
    throw new ClusterError('KIP_CLUSTER_BUILD', said, { cause })
  }
}

/**
 * Checks what a build needs before it spends minutes.
 *
 * @param folder - where the result will be
 * @throws ClusterError (KIP_CLUSTER_PREREQUISITE) when Go is missing or too old, or a disk too full
 */
export async function checkBuildPossible(folder: string, signal?: AbortSignal): Promise<void> {
  const env = { ...process.env, GOTOOLCHAIN: 'local' }
  const options = { env, ...(signal && { signal }) }
  const version = await tryCommand('go', ['env', 'GOVERSION'], options).catch(() => undefined)
  signal?.throwIfAborted()
  const found = version?.code === 0 ? version.stdout.trim() : undefined
  if (!found || !isRecentGo(found)) {
    throw new ClusterError(
      'KIP_CLUSTER_PREREQUISITE',
      `Go ${MINIMUM_GO} or later is needed to build the test cluster's Kubernetes, ` +
        `and there is ${found ?? 'none'}; take it from https://go.dev/dl.`,
    )
  }
  const listing = await runCommand('go', ['env', 'GOCACHE', 'GOMODCACHE'], options)
  for (const path of new Set([folder, ...listing.split('\n').filter(Boolean)])) {
    await mkdir(path, { recursive: true })
    const { bavail, bsize } = await statfs(path)
    const gigabytes = (bavail * bsize) / 1e9
    if (gigabytes >= NEEDED_GIGABYTES) continue
    throw new ClusterError(
      'KIP_CLUSTER_PREREQUISITE',
      `${path}: ${gigabytes.toFixed(1)} GB are free, and building the test cluster's Kubernetes ` +
        `needs ${NEEDED_GIGABYTES} GB; free some, or set XDG_CACHE_HOME, GOCACHE and GOMODCACHE.`,
    )
  }
}

/** Whether `go1.26.8` is at least {@link MINIMUM_GO}. */
export function isRecentGo(version: string): boolean {
  const [major = 0, minor = 0] = /(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number) ?? []
  const [wantedMajor = 0, wantedMinor = 0] = MINIMUM_GO.split('.').map(Number)
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor)
}
