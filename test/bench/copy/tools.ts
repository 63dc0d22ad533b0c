import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { imageEnvironment } from '../../../docker/bundle.ts'
import { tryCommand } from '../../cluster/command.ts'
import { ensurePackages } from '../../cluster/packages.ts'
import { type BuildOptions, installedProgram, libraryPeer, type Program } from '../peers/build.ts'

/** Two registries as a tool is told of them. */
export interface Route {
  /** `127.0.0.1:5000` */
  readonly source: string
  readonly target: string
  /** PEM of their authority; undefined: both speak plain http. */
  readonly authorityFile: string | undefined
}

/** An image to copy: repository and tag, in source and target. */
export interface Item {
  readonly source: string
  readonly target: string
}

type Command = readonly [string, ...string[]]

/** A copier of one image or of many, at its defaults. */
export interface Tool {
  readonly name: string
  /** @param folder - for files that the command reads */
  readonly command: (route: Route, items: readonly Item[], folder: string) => Promise<Command>
  /** A command line that runs the command, unmeasured. */
  readonly enter?: readonly string[]
  /** Besides what every tool is given. */
  readonly env?: Readonly<Record<string, string>>
}

export interface Programs {
  /** Command line of kip. */
  readonly kip: Command
  readonly crane: string
  readonly regctl: string
  readonly regsync: string
  readonly oras: string
  readonly podmanImage: string
  readonly skopeo: string
}

/** Builds or installs every peer. @returns their programs and versions */
export async function preparePeers(options: BuildOptions): Promise<{
  readonly programs: Omit<Programs, 'kip'>
  readonly versions: Readonly<Record<string, string>>
}> {
  await ensurePackages(['skopeo'], options)
  const skopeo = (await tryCommand('skopeo', ['--version'])).stdout.trim()
  const crane = await installedProgram('crane', 'crane', options)
  const regctl = await installedProgram('regclient', 'regctl', options)
  const regsync = await installedProgram('regclient', 'regsync', options)
  const oras = await libraryPeer('oras', options)
  const podmanImage = await libraryPeer('podman-image', options)
  const built: Record<string, Program> = {
    crane,
    regctl,
    regsync,
    oras,
    'podman-image': podmanImage,
  }
  return {
    programs: {
      crane: crane.file,
      regctl: regctl.file,
      regsync: regsync.file,
      oras: oras.file,
      podmanImage: podmanImage.file,
      skopeo: '/usr/bin/skopeo',
    },
    versions: {
      ...Object.fromEntries(Object.entries(built).map(([name, { version }]) => [name, version])),
      skopeo: skopeo.replace('skopeo version ', ''),
    },
  }
}

/**
 * As root, skopeo remembers in /var/lib which registry has which blob, and as anybody else in its home, which is new for each
 * run: here it starts with an empty memory in any case.
 */
const FORGETFUL: readonly string[] = [
  ...['unshare', '--mount', 'sh', '-c'],
  'mkdir -p /var/lib/containers && mount -t tmpfs none /var/lib/containers && exec "$@"',
  'sh',
]

/** Tools for one image; kip with these options besides its defaults. */
export function singleTools(
  programs: Programs,
  kipOptions: readonly string[] = [],
): Readonly<Record<SingleTool, Tool>> {
  const { crane, regctl, oras, podmanImage, skopeo } = programs
  return {
    kip: {
      name: 'kip',
      env: imageEnvironment(),
      command: async (route, items) => kipSingle(programs.kip, route, items, kipOptions),
    },
    crane: {
      name: 'crane',
      command: async (route, items) => [crane, 'copy', ...ends(route, items)],
    },
    regctl: {
      name: 'regctl',
      command: async (route, items) => {
        const plain = [route.source, route.target].flatMap((host) => [
          '--host',
          `reg=${host},tls=disabled`,
        ])
        return [
          regctl,
          ...(route.authorityFile ? [] : plain),
          ...['image', 'copy', ...ends(route, items)],
        ]
      },
    },
    oras: {
      name: 'oras',
      command: async (route, items) => [oras, ...plainFlag(route), ...ends(route, items)],
    },
    'podman-image': {
      name: 'podman-image',
      command: async (route, items) => [podmanImage, ...plainFlag(route), ...ends(route, items)],
    },
    skopeo: {
      name: 'skopeo',
      ...(process.getuid?.() === 0 && { enter: FORGETFUL }),
      command: async (route, items) => [
        ...([skopeo, '--insecure-policy', 'copy', '--all'] as const),
        ...(route.authorityFile ? [] : ['--src-tls-verify=false', '--dest-tls-verify=false']),
        ...ends(route, items).map((reference) => `docker://${reference}`),
      ],
    },
  }
}

export type SingleTool = 'kip' | 'crane' | 'regctl' | 'oras' | 'podman-image' | 'skopeo'

/** Tools for many images; those that copy one at a time run four at a time. */
export function bulkTools(programs: Programs): Readonly<Record<BulkTool, Tool>> {
  return {
    kip: {
      name: 'kip',
      env: imageEnvironment(),
      command: (...call) => kipList(programs.kip, ...call),
    },
    'crane x4': {
      name: 'crane x4',
      command: async (route, items, folder) => {
        const list = join(folder, 'crane.list')
        await writeFile(list, lines(route, items))
        return ['xargs', '-a', list, '-P', '4', '-n', '2', programs.crane, 'copy']
      },
    },
    regsync: {
      name: 'regsync',
      command: async (route, items, folder) => {
        const file = join(folder, 'regsync.yaml')
        await writeFile(file, regsyncConfig(route, items))
        return [programs.regsync, 'once', '-c', file]
      },
    },
    'skopeo sync': {
      name: 'skopeo sync',
      ...(process.getuid?.() === 0 && { enter: FORGETFUL }),
      command: async (route, items, folder) => {
        const file = join(folder, 'skopeo.yaml')
        await writeFile(file, skopeoConfig(route, items))
        const parent = items[0]?.target.replace(/\/[^/]*$/, '') ?? ''
        return [
          ...([programs.skopeo, '--insecure-policy', 'sync', '--all'] as const),
          ...['--src', 'yaml', '--dest', 'docker', '--dest-tls-verify=false'],
          ...[file, `${route.target}/${parent}`],
        ]
      },
    },
  }
}

export type BulkTool = 'kip' | 'crane x4' | 'regsync' | 'skopeo sync'

/** One process of crane an image, one after the other. */
export function craneInTurn({ crane }: Programs): Tool {
  return {
    name: 'crane',
    command: async (route, items, folder) => {
      const list = join(folder, 'crane.list')
      await writeFile(list, lines(route, items))
      return ['xargs', '-a', list, '-n', '2', crane, 'copy']
    },
  }
}

function kipSingle(
  kip: Command,
  route: Route,
  items: readonly Item[],
  options: readonly string[],
): Command {
  return [...kip, 'copy', ...options, ...kipFlags(route), ...ends(route, items)]
}

async function kipList(
  kip: Command,
  route: Route,
  items: readonly Item[],
  folder: string,
): Promise<Command> {
  const list = join(folder, 'kip.list')
  await writeFile(list, lines(route, items))
  return [...kip, 'copy', ...kipFlags(route), '--from-file', list]
}

function kipFlags({ source, target, authorityFile }: Route): readonly string[] {
  return authorityFile ? ['--ca', authorityFile] : ['--http', source, '--http', target]
}

function plainFlag({ authorityFile }: Route): readonly string[] {
  return authorityFile ? [] : ['-plain-http']
}

/** The references of the one image. */
function ends(route: Route, items: readonly Item[]): readonly [string, string] {
  const [item] = items
  if (!item || items.length > 1) throw new RangeError('this tool copies one image')
  return [`${route.source}/${item.source}`, `${route.target}/${item.target}`]
}

function lines(route: Route, items: readonly Item[]): string {
  return items
    .map(({ source, target }) => `${route.source}/${source} ${route.target}/${target}\n`)
    .join('')
}

/** JSON is YAML. Of itself regsync copies one image at a time. */
function regsyncConfig(route: Route, items: readonly Item[]): string {
  return JSON.stringify({
    version: 1,
    creds: [route.source, route.target].map((registry) => ({ registry, tls: 'disabled' })),
    defaults: { parallel: 4 },
    sync: items.map(({ source, target }) => ({
      source: `${route.source}/${source}`,
      target: `${route.target}/${target}`,
      type: 'image',
    })),
  })
}

function skopeoConfig(route: Route, items: readonly Item[]): string {
  const images = items.map(({ source }) => {
    const [repository = '', tag = ''] = source.split(':')
    return [repository, [tag]] as const
  })
  return JSON.stringify({
    [route.source]: { 'tls-verify': false, images: Object.fromEntries(images) },
  })
}
