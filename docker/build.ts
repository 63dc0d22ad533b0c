import { chmod, cp, mkdir, mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { sleepSources } from '../sleep/build.ts'
import { cachedBuild, contentKey } from '../test/cluster/cache.ts'
import { compressLayer, type Image, type Layer } from '../test/cluster/images/image.ts'
import { readLayout, writeLayout } from '../test/cluster/images/layout.ts'
import { type Report, reportToStderr } from '../test/cluster/progress.ts'
import { sleepProgram } from '../test/cluster/sleep-program.ts'
import { baseImage, basePackages } from './base-image.ts'
import { buildImage, pushLayout } from './buildah.ts'
import { bundle } from './bundle.ts'
import { compressOnce } from './layer-cache.ts'

export interface BuildOptions {
  /** What is bundled, relative to the repository's root; default: kip itself. */
  readonly entry?: string
  readonly report: Report
  readonly signal?: AbortSignal
}

/** Where images go: of a test registry, its name in references and the client that fills it. */
export interface PushTarget {
  readonly host: string
  readonly client: {
    push(image: Image, repository: string, tag: string): Promise<string>
  }
}

/** The tag of the sleep image has a version of its own: it changes when the program does, not when kip does. */
const SLEEP_TAG = '1'

const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url))
const root = here('..')

/**
 * Builds the images of kip and of its `sleep` for this machine's processor, and puts them into a registry as `kip:<content>` and
 * `kip-sleep:1`. What is there already is not built or sent again.
 *
 * @returns references by tag and digest
 * @throws ClusterError (KIP_CLUSTER_PREREQUISITE) when a package is missing or this process is not root
 */
export async function buildKipImages(
  options: BuildOptions & { readonly registry: PushTarget },
): Promise<{ readonly kip: string; readonly sleep: string }> {
  const { registry } = options
  const push = async ({ folder, tag }: ImageLayout, repository: string): Promise<string> => {
    const digest = await registry.client.push(await readLayout(folder), repository, tag)
    return `${registry.host}/${repository}:${tag}@${digest}`
  }
  const sleep = await push(await sleepImage(options), 'kip-sleep')
  const kip = await push(await kipImage(options), 'kip')
  return { kip, sleep }
}

/** An image in the cache. */
export interface ImageLayout {
  /** Folder with the OCI layout. */
  readonly folder: string
  readonly tag: string
}

/** Builds kip's image, or finds it built; its tag follows from all that it is made of. */
export async function kipImage(options: BuildOptions): Promise<ImageLayout> {
  const entry = options.entry ?? 'src/main.ts'
  const base = await baseLayout(options)
  const sleep = await sleepProgram(options)
  const tag = await contentKey([base, sleep, entry, await sourceKey()])
  const folder = await cachedBuild({
    ...options,
    name: 'kip-image',
    key: tag,
    step: "building kip's image",
    expectedSeconds: 8,
    build: (into) =>
      withFolder(async (context) => {
        await bundle(join(context, 'kip'), entry)
        await cp(sleep, join(context, 'kip', 'sleep'))
        await cp(pinnedNode(), join(context, 'node'))
        await openModes(context)
        const image = await buildImage({
          ...options,
          dockerfile: here('Dockerfile'),
          context,
          base,
          compress: compressOnce,
        })
        await writeLayout(into, image, tag)
      }),
  })
  return { folder, tag }
}

/** Builds the image of `sleep`, or finds it built. */
export async function sleepImage(options: BuildOptions): Promise<ImageLayout> {
  const sleep = await sleepProgram(options)
  const sources = [here('sleep.Dockerfile'), here('buildah.ts'), ...sleepSources]
  const folder = await cachedBuild({
    ...options,
    name: 'kip-sleep-image',
    key: await contentKey([process.arch, ...sources.map((file) => ({ file }))]),
    step: 'building the sleep image',
    expectedSeconds: 2,
    build: (into) =>
      withFolder(async (context) => {
        await cp(sleep, join(context, 'sleep'))
        await openModes(context)
        const dockerfile = here('sleep.Dockerfile')
        const compress = async (archive: Buffer): Promise<Layer> => compressLayer(archive)
        const image = await buildImage({ ...options, dockerfile, context, compress })
        await writeLayout(into, image, SLEEP_TAG)
      }),
  })
  return { folder, tag: SLEEP_TAG }
}

/** Everything that the bundle and its image are made of, by name and bytes. */
async function sourceKey(): Promise<string> {
  const files = ['package.json', 'package-lock.json']
  for (const folder of ['src', 'certs', 'docker']) {
    const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true })
    for (const entry of entries)
      if (entry.isFile()) files.push(join(entry.parentPath, entry.name).slice(root.length))
  }
  return contentKey([
    process.arch,
    ...files.sort().flatMap((file) => [file, { file: join(root, file) }]),
  ])
}

async function baseLayout(options: BuildOptions): Promise<string> {
  const sources = [here('base-image.ts'), here('../test/cluster/images/debian-tree.ts')]
  return cachedBuild({
    ...options,
    name: 'base-image',
    key: await contentKey([process.arch, ...basePackages, ...sources.map((file) => ({ file }))]),
    step: 'making the base image',
    expectedSeconds: 5,
    build: async (folder) => writeLayout(folder, await baseImage(options), 'base'),
  })
}

/** Whatever this process's umask is: everybody reads, and runs what its owner runs. */
async function openModes(folder: string): Promise<void> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true })
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name)
    const runs = entry.isDirectory() || ((await stat(path)).mode & 0o100) !== 0
    await chmod(path, runs ? 0o755 : 0o644)
  }
}

async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'kip-image-'))
  try {
    await mkdir(join(folder, 'kip'))
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** The Node that package-lock.json pins for this platform. */
function pinnedNode(): string {
  return join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin', 'node')
}

const USAGE = `usage: node docker/build.ts [kip|sleep] --layout FOLDER
       node docker/build.ts [kip|sleep] --push REGISTRY/REPOSITORY:TAG [--authfile FILE] [--cert-dir FOLDER] [--http]`

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      layout: { type: 'string' },
      push: { type: 'string' },
      authfile: { type: 'string' },
      'cert-dir': { type: 'string' },
      http: { type: 'boolean', default: false },
    },
  })
  const which = positionals[0] ?? 'kip'
  if ((which !== 'kip' && which !== 'sleep') || (!values.layout && !values.push)) {
    console.error(USAGE)
    return 2
  }
  const make = which === 'kip' ? kipImage : sleepImage
  const { folder } = await make({ report: reportToStderr })
  if (values.layout) await cp(folder, values.layout, { recursive: true })
  if (values.push)
    await pushLayout(folder, values.push, {
      report: reportToStderr,
      http: values.http,
      ...(values.authfile && { authFile: values.authfile }),
      ...(values['cert-dir'] && { certificateFolder: values['cert-dir'] }),
    })
  console.log((await readLayout(folder)).digest)
  return 0
}

if (import.meta.main) process.exitCode = await main()
