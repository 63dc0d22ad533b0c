import { cp, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCommand } from '../test/cluster/command.ts'
import { ClusterError } from '../test/cluster/errors.ts'
import {
  blobOf,
  type Descriptor,
  type Image,
  type Layer,
  manifestOf,
} from '../test/cluster/images/image.ts'
import { ensurePackages } from '../test/cluster/packages.ts'
import type { Report } from '../test/cluster/progress.ts'

export interface BuildahOptions {
  readonly dockerfile: string
  /** Folder that `COPY` copies from. */
  readonly context: string
  /** OCI layout that becomes the build argument `BASE`; default: what the Dockerfile says. */
  readonly base?: string
  /** Compresses a layer; it gets each layer's tar archive and its digest. */
  readonly compress: (archive: Buffer, diffId: string) => Promise<Layer>
  readonly report: Report
  readonly signal?: AbortSignal
}

interface DirManifest {
  readonly mediaType: string
  readonly config: Descriptor
  readonly layers: readonly Descriptor[]
}

/**
 * Builds the image that a Dockerfile describes, without a Docker daemon. Equal input gives equal digests.
 *
 * buildah keeps nothing between builds: its storage is made and thrown away, which takes less time than finding out what of
 * an old one still holds. Layers come out of it uncompressed, so that the caller can compress each of them only once.
 *
 * @throws ClusterError (KIP_CLUSTER_PREREQUISITE) without root or buildah, (KIP_CLUSTER_COMMAND) when the build fails
 */
export async function buildImage(options: BuildahOptions): Promise<Image> {
  const { base } = options
  return withBuildah(options, async (buildah, folder) => {
    // buildah makes a name of the path, and most paths make none: a short relative one does.
    if (base) await cp(base, join(folder, 'base'), { recursive: true })
    const args = base ? ['--build-arg=BASE=oci:base'] : []
    const build = ['build', '--quiet', '--isolation=chroot', '--layers', '--timestamp=0']
    const file = `--file=${options.dockerfile}`
    await buildah([...build, ...args, file, '--tag=kip-build', options.context])
    const output = join(folder, 'output')
    await buildah(['push', '--quiet', '--disable-compression', 'kip-build', `dir:${output}`])
    return imageInFolder(output, options.compress)
  })
}

/** Pushes an image that lies as an OCI layout, with buildah's ways to log in. */
export async function pushLayout(
  layout: string,
  target: string,
  options: {
    readonly report: Report
    readonly signal?: AbortSignal
    readonly authFile?: string
    /** Folder with the `*.crt` that the registry is trusted by. */
    readonly certificateFolder?: string
    readonly http?: boolean
  },
): Promise<void> {
  const login = options.authFile ? [`--authfile=${options.authFile}`] : []
  const trust = options.certificateFolder ? [`--cert-dir=${options.certificateFolder}`] : []
  const plain = options.http ? ['--tls-verify=false'] : []
  await withBuildah(options, async (buildah, folder) => {
    await cp(layout, join(folder, 'image'), { recursive: true })
    const pulled = await buildah(['pull', '--quiet', 'oci:image'])
    await buildah(['push', ...login, ...trust, ...plain, pulled.trim(), `docker://${target}`])
  })
}

type Buildah = (args: readonly string[]) => Promise<string>

async function withBuildah<T>(
  options: { readonly report: Report; readonly signal?: AbortSignal },
  work: (buildah: Buildah, folder: string) => Promise<T>,
): Promise<T> {
  if (process.getuid?.() !== 0) {
    throw new ClusterError('KIP_CLUSTER_PREREQUISITE', 'building images with buildah needs root')
  }
  await ensurePackages(['buildah'], options)
  const folder = await mkdtemp(join(tmpdir(), 'kip-buildah-'))
  const storage = ['--root', join(folder, 'root'), '--runroot', join(folder, 'run')]
  const run = (driver: string, args: readonly string[]): Promise<string> =>
    // In mount namespaces of their own: a build that is killed leaves no mount.
    runCommand(
      'unshare',
      [
        ...['--mount', '--propagation=private', '--', 'buildah', '--storage-driver', driver],
        ...storage,
        ...args,
      ],
      {
        cwd: folder,
        env: {
          PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
          LC_ALL: 'C.UTF-8',
          HOME: folder,
          TMPDIR: folder,
        },
        ...(options.signal && { signal: options.signal }),
      },
    )
  try {
    // overlay takes half the time; it does not work on top of another overlay, where vfs does.
    const works = run('overlay', ['images']).then(
      () => true,
      () => false,
    )
    const driver = (await works) ? 'overlay' : 'vfs'
    options.signal?.throwIfAborted()
    return await work((args) => run(driver, args), folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** Reads containers/image's `dir:` form, where each blob is a file under the hex of its digest. */
async function imageInFolder(folder: string, compress: BuildahOptions['compress']): Promise<Image> {
  const blob = (digest: string): Promise<Buffer> =>
    readFile(join(folder, digest.slice('sha256:'.length)))
  const manifest: DirManifest = JSON.parse(await readFile(join(folder, 'manifest.json'), 'utf8'))
  const config = blobOf(await blob(manifest.config.digest))
  const layers: Layer[] = []
  for (const { digest } of manifest.layers) layers.push(await compress(await blob(digest), digest))
  const content = {
    schemaVersion: 2,
    mediaType: manifest.mediaType,
    config: { ...manifest.config },
    layers: layers.map(({ mediaType, blob: { digest, size } }) => ({ mediaType, digest, size })),
  }
  const blobs = [config, ...layers.map((layer) => layer.blob)]
  return manifestOf(manifest.mediaType, content, { blobs, children: [] })
}
