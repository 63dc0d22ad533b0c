import { chmod, mkdtemp, readlink, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCommand, tryCommand } from './command.ts'
import { ClusterError } from './errors.ts'
import { withLock } from './lock.ts'
import { type Report, withProgress } from './progress.ts'
import { stateFolder } from './state.ts'

export interface PackageOptions {
  readonly report: Report
  readonly signal?: AbortSignal
}

/** Another package manager may be at work: apt waits this long for its lock. */
const LOCK_WAIT_SECONDS = 300

const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  DEBIAN_FRONTEND: 'noninteractive',
  LC_ALL: 'C.UTF-8',
}

/**
 * Installs the Debian packages that are missing, without questions, without recommended ones, without starting a service.
 *
 * The lists are fetched only when they do not know a package. It works on Debian and its children, as root.
 *
 * @param names - binary package names
 * @throws ClusterError (KIP_CLUSTER_PREREQUISITE) when packages are missing and cannot be installed, naming them
 */
export async function ensurePackages(
  names: readonly string[],
  options: PackageOptions,
): Promise<void> {
  if ((await missingPackages(names, options.signal)).length === 0) return
  const signal = options.signal && { signal: options.signal }
  await withLock(
    join(stateFolder(), 'packages.lock'),
    async () => {
      const missing = await missingPackages(names, options.signal)
      if (missing.length > 0) await install(missing, options)
    },
    { ...signal },
  )
}

/** Of these packages, the ones that are not installed; all of them where there is no dpkg. */
export async function missingPackages(
  names: readonly string[],
  signal?: AbortSignal,
): Promise<readonly string[]> {
  const query = ['--show', `--showformat=\${Package} \${db:Status-Status}\n`, ...names]
  // dpkg-query fails when one of the packages is unknown to it, and still lists the others.
  const result = await tryCommand('dpkg-query', query, signal && { signal }).catch(() => undefined)
  return notInstalled(names, result?.stdout ?? '')
}

export function notInstalled(names: readonly string[], listing: string): readonly string[] {
  const installed = new Set(
    listing
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  )
  return names.filter((name) => !installed.has(name))
}

async function install(names: readonly string[], options: PackageOptions): Promise<void> {
  const list = names.join(' ')
  if (process.getuid?.() !== 0) throw cannotInstall(`as root, run: apt-get install ${list}`, names)
  const run = (args: readonly string[]): Promise<string> =>
    runCommand('apt-get', ['-q', '-y', '-o', `DPkg::Lock::Timeout=${LOCK_WAIT_SECONDS}`, ...args], {
      env: ENVIRONMENT,
      ...(options.signal && { signal: options.signal }),
    })
  const step = { report: options.report, step: `installing ${list}`, expectedSeconds: 20 }
  await withProgress(step, async () => {
    try {
      if (!(await allKnown(names, options.signal))) await run(['update'])
      await withoutServices(() => run(['install', '--no-install-recommends', ...names]))
    } catch (cause) {
      options.signal?.throwIfAborted()
      const reason = cause instanceof Error ? cause.message : String(cause)
      throw cannotInstall(reason, names, cause)
    }
  })
}

function cannotInstall(reason: string, names: readonly string[], cause?: unknown): ClusterError {
  return new ClusterError(
    'KIP_CLUSTER_PREREQUISITE',
    `the Debian packages ${names.join(', ')} are missing: ${reason}`,
    { cause },
  )
}

/** Whether apt can name a version to install of each package. */
async function allKnown(names: readonly string[], signal?: AbortSignal): Promise<boolean> {
  const policy = await runCommand('apt-cache', ['policy', ...names], {
    env: ENVIRONMENT,
    ...(signal && { signal }),
  })
  const candidates = policy.match(/^ {2}Candidate: (?!\(none\)).+$/gm) ?? []
  return candidates.length >= names.length
}

const POLICY = '/usr/sbin/policy-rc.d'

/**
 * Debian's maintainer scripts ask policy-rc.d before they start a service; 101 forbids it. A policy that the machine
 * already has is the administrator's and stays; where it allows services, there is no other way to forbid them.
 */
async function withoutServices(work: () => Promise<unknown>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'kip-policy-'))
  const file = join(folder, 'policy-rc.d')
  await writeFile(file, '#!/bin/sh\nexit 101\n')
  await chmod(file, 0o755)
  // Ours is a link whose target says so: one that a killed tool left is known and replaced.
  const found = await readlink(POLICY).catch(() => '')
  if (found.includes('/kip-policy-')) await rm(POLICY, { force: true })
  const made = await symlink(file, POLICY).then(
    () => true,
    () => false,
  )
  try {
    await work()
  } finally {
    if (made) await rm(POLICY, { force: true })
    await rm(folder, { recursive: true, force: true })
  }
}
