import { mkdir, mkdtemp, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { runCommand } from '../command.ts'
import { ClusterError } from '../errors.ts'

const ENVIRONMENT = { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C.UTF-8' }

/**
 * Unpacks Debian packages into a folder, without installing them and without running anything of theirs.
 *
 * Works without root as long as apt's lists know the packages.
 *
 * @param packages - binary packages; what they depend on is not followed
 * @param folder - made when missing
 * @throws ClusterError (KIP_CLUSTER_PREREQUISITE) when a package cannot be had
 */
export async function unpackPackages(
  packages: readonly string[],
  folder: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<void> {
  const run = { ...options, env: ENVIRONMENT }
  await mkdir(folder, { recursive: true })
  const downloads = await mkdtemp(`${folder}-packages-`)
  try {
    // apt drops to a user of its own for downloads, who may not write here.
    const args = ['-q', '-o', 'APT::Sandbox::User=root', 'download', ...packages]
    const download = (): Promise<string> => runCommand('apt-get', args, { ...run, cwd: downloads })
    try {
      await download()
    } catch (error) {
      options.signal?.throwIfAborted()
      if (process.getuid?.() !== 0) throw error
      // Lists that are missing or older than the archive.
      await runCommand('apt-get', ['-q', '-o', 'DPkg::Lock::Timeout=300', 'update'], run)
      await download()
    }
    for (const file of await readdir(downloads))
      await runCommand('dpkg-deb', ['--extract', join(downloads, file), folder], run)
  } catch (cause) {
    options.signal?.throwIfAborted()
    const reason = cause instanceof Error ? cause.message : String(cause)
    const text = `cannot get the Debian packages ${packages.join(', ')}: ${reason}`
    throw new ClusterError('KIP_CLUSTER_PREREQUISITE', text, { cause })
  } finally {
    await rm(downloads, { recursive: true, force: true })
  }
}

/** `x86_64-linux-gnu`: the folder of this machine's libraries, by Debian's name of the processor. */
export function libraryTriplet(): string {
  const names: Partial<Record<string, string>> = {
    x64: 'x86_64-linux-gnu',
    arm64: 'aarch64-linux-gnu',
    ppc64: 'powerpc64le-linux-gnu',
    s390x: 's390x-linux-gnu',
  }
  const triplet = names[process.arch]
  if (triplet) return triplet
  const text = `test images are made on amd64, arm64, ppc64le and s390x, not on ${process.arch}`
  throw new ClusterError('KIP_CLUSTER_PREREQUISITE', text)
}

/** Where a program of this machine's processor looks for its dynamic loader; a path of the ABI. */
export function loaderPath(): string {
  const paths: Partial<Record<string, string>> = {
    x64: '/lib64/ld-linux-x86-64.so.2',
    arm64: '/lib/ld-linux-aarch64.so.1',
    ppc64: '/lib64/ld64.so.2',
    s390x: '/lib/ld64.so.1',
  }
  return paths[process.arch] ?? ''
}

/**
 * The shared libraries that a program in an unpacked tree needs, found by the tree's own loader.
 *
 * @param program - path inside the tree
 * @returns paths inside the tree
 * @throws ClusterError (KIP_CLUSTER_COMMAND) when a library is not in the tree, with its name
 */
export async function neededLibraries(
  tree: string,
  program: string,
  options: { readonly signal?: AbortSignal } = {},
): Promise<readonly string[]> {
  const triplet = libraryTriplet()
  const folders = [join(tree, 'lib', triplet), join(tree, 'usr/lib', triplet)]
  const loader = join(tree, 'lib', triplet, loaderPath().split('/').at(-1) ?? '')
  const args = ['--inhibit-cache', '--library-path', folders.join(':'), '--list']
  const list = await runCommand(loader, [...args, join(tree, program)], { ...options, env: {} })
  return [...list.matchAll(/=> (\S+) \(0x/g)]
    .map(([, path = '']) => path)
    .filter((path) => path.startsWith(`${tree}/`) && path !== loader)
    .map((path) => path.slice(tree.length))
}
