import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { libraryTriplet, loaderPath, unpackPackages } from '../test/cluster/images/debian-tree.ts'
import { type Image, imageOf, layerOf } from '../test/cluster/images/image.ts'
import type { TarEntry } from '../test/cluster/images/tar.ts'

/** What the base image is made of. */
export const basePackages = ['libc6', 'libgcc-s1', 'libstdc++6', 'ca-certificates'] as const

/** Node's own libraries, and those that glibc loads by name to look up hosts and users. */
const LIBRARIES = [
  ...['libc.so.6', 'libm.so.6', 'libdl.so.2', 'libpthread.so.0', 'librt.so.1', 'libresolv.so.2'],
  ...['libnss_dns.so.2', 'libnss_files.so.2', 'libgcc_s.so.1', 'libstdc++.so.6', 'libatomic.so.1'],
]

/**
 * Makes an image with what Node needs and nothing to type into: glibc, libgcc, libstdc++ and the certificate authorities, from
 * Debian's packages.
 *
 * @throws ClusterError (KIP_CLUSTER_PREREQUISITE) when a package cannot be had
 */
export async function baseImage(options: { readonly signal?: AbortSignal } = {}): Promise<Image> {
  const tree = await mkdtemp(join(tmpdir(), 'kip-base-'))
  try {
    await unpackPackages(basePackages, tree, options)
    const entries = [
      ...accounts,
      ...(await libraries(tree)),
      await authorities(tree),
      ...(await licences(tree)),
    ]
    return imageOf({ layers: [layerOf(entries)], config: { Env: ['PATH=/usr/local/bin'] } })
  } finally {
    await rm(tree, { recursive: true, force: true })
  }
}

const accounts: readonly TarEntry[] = [
  {
    kind: 'file',
    path: '/etc/passwd',
    content: 'root:x:0:0:root:/:/sbin/nologin\nkip:x:65532:65532:kip:/tmp:/sbin/nologin\n',
  },
  { kind: 'file', path: '/etc/group', content: 'root:x:0:\nkip:x:65532:\n' },
  { kind: 'file', path: '/etc/nsswitch.conf', content: 'hosts: files dns\n' },
  { kind: 'folder', path: '/tmp', mode: 0o1777 },
]

async function libraries(tree: string): Promise<readonly TarEntry[]> {
  const triplet = libraryTriplet()
  const loader = loaderPath().split('/').at(-1) ?? ''
  const entries: TarEntry[] = []
  for (const name of [loader, ...LIBRARIES]) {
    for (const folder of [`/lib/${triplet}`, `/usr/lib/${triplet}`]) {
      const content = await readFile(join(tree, folder, name)).catch(() => undefined)
      // Under its own name, whatever link to a version the package has.
      if (content) entries.push({ kind: 'file', path: `${folder}/${name}`, content, mode: 0o755 })
    }
  }
  entries.push({ kind: 'symlink', path: loaderPath(), target: `/lib/${triplet}/${loader}` })
  return entries
}

/** One file of all authorities, where OpenSSL and Go look for it; the package makes it when it is installed. */
async function authorities(tree: string): Promise<TarEntry> {
  const folder = join(tree, 'usr/share/ca-certificates/mozilla')
  const names = (await readdir(folder)).filter((name) => name.endsWith('.crt')).sort()
  const certificates = await Promise.all(names.map((name) => readFile(join(folder, name), 'utf8')))
  const content = certificates.map((text) => `${text.trim()}\n`).join('')
  return { kind: 'file', path: '/etc/ssl/certs/ca-certificates.crt', content }
}

async function licences(tree: string): Promise<readonly TarEntry[]> {
  const paths = basePackages.map((name) => `usr/share/doc/${name}/copyright`)
  const found = paths.map(async (path): Promise<TarEntry | undefined> => {
    const content = await readFile(join(tree, path)).catch(() => undefined)
    return content && { kind: 'file', path, content }
  })
  return (await Promise.all(found)).filter((entry) => entry !== undefined)
}
