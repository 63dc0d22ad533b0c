import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { libraryTriplet, loaderPath, neededLibraries, unpackPackages } from './debian-tree.ts'
import { type Layer, layerOf } from './image.ts'
import type { TarEntry } from './tar.ts'

interface ProgramLayer {
  /** Debian packages of the program and of the libraries that it loads, besides libc6. */
  readonly packages: readonly string[]
  /** Path of the program in its package. */
  readonly program: string
  /** Path of the program in the image; default: the same. */
  readonly installAs?: string
  /** Configuration and the like. */
  readonly files?: readonly TarEntry[]
}

/** The libraries of glibc that programs load by name; they are in every image, in one layer that images share. */
const C_LIBRARIES = ['libc.so.6', 'libm.so.6', 'libdl.so.2', 'libpthread.so.0', 'librt.so.1']

const ACCOUNTS: readonly TarEntry[] = [
  {
    kind: 'file',
    path: '/etc/passwd',
    content: [
      'root:x:0:0:root:/:/sbin/nologin',
      'www-data:x:33:33:www-data:/:/sbin/nologin',
      'nobody:x:65534:65534:nobody:/:/sbin/nologin\n',
    ].join('\n'),
  },
  {
    kind: 'file',
    path: '/etc/group',
    content: 'root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n',
  },
  { kind: 'folder', path: '/tmp', mode: 0o1777 },
]

/**
 * Layers of a real Debian program: the C library, and above it the program with exactly the libraries that it loads.
 */
export async function programLayers(
  options: ProgramLayer & { readonly signal?: AbortSignal },
): Promise<readonly Layer[]> {
  const tree = await mkdtemp(join(tmpdir(), 'kip-debian-'))
  const signal = options.signal && { signal: options.signal }
  try {
    await unpackPackages(['libc6', ...options.packages], tree, { ...signal })
    const cLibraries = C_LIBRARIES.map((name) => `/lib/${libraryTriplet()}/${name}`)
    const needed = await neededLibraries(tree, options.program, { ...signal })
    const own = needed.filter((path) => !cLibraries.includes(path)).sort()
    const loader = `/lib/${libraryTriplet()}/${loaderPath().split('/').at(-1)}`
    return [
      layerOf([
        ...ACCOUNTS,
        ...(await Promise.all([loader, ...cLibraries].map((path) => executable(tree, path)))),
        { kind: 'symlink', path: loaderPath(), target: loader },
      ]),
      layerOf([
        ...(await Promise.all(own.map((path) => executable(tree, path)))),
        {
          ...(await executable(tree, options.program)),
          path: options.installAs ?? options.program,
        },
        ...(options.files ?? []),
      ]),
    ]
  } finally {
    await rm(tree, { recursive: true, force: true })
  }
}

/** A link is followed: the image has a file under the name that is asked for. */
async function executable(tree: string, path: string): Promise<TarEntry> {
  return { kind: 'file', path, content: await readFile(join(tree, path)), mode: 0o755 }
}

/** What is in the one layer of busybox: a static program, and a link for each of its commands. */
export async function busyboxEntries(
  options: { readonly signal?: AbortSignal } = {},
): Promise<readonly TarEntry[]> {
  const tree = await mkdtemp(join(tmpdir(), 'kip-debian-'))
  try {
    await unpackPackages(['busybox-static'], tree, options)
    return [
      ...ACCOUNTS,
      await executable(tree, '/bin/busybox'),
      ...COMMANDS.map(
        (name): TarEntry => ({
          kind: 'symlink',
          path: `/bin/${name}`,
          target: 'busybox',
        }),
      ),
    ]
  } finally {
    await rm(tree, { recursive: true, force: true })
  }
}

/** What tests and people looking around in a pod type. */
const COMMANDS = [
  ...[
    'sh',
    'cat',
    'cp',
    'date',
    'echo',
    'env',
    'false',
    'find',
    'grep',
    'head',
    'hostname',
    'httpd',
  ],
  ...['id', 'kill', 'ls', 'mkdir', 'mv', 'nc', 'nslookup', 'ping', 'printf', 'ps', 'rm', 'sed'],
  ...['sleep', 'tail', 'test', 'touch', 'tr', 'true', 'uname', 'vi', 'wc', 'wget', 'yes'],
]
