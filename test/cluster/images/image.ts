import { createHash } from 'node:crypto'
import { gzipSync, zstdCompressSync } from 'node:zlib'
import { type TarEntry, tar } from './tar.ts'

/** Something that a registry keeps under the digest of its bytes. */
export interface Blob {
  readonly digest: string
  readonly size: number
  read(): Promise<Buffer>
}

/** A manifest or index as bytes, and everything that has to be in a registry before it. */
export interface Image {
  readonly mediaType: string
  readonly digest: string
  readonly bytes: Buffer
  readonly blobs: readonly Blob[]
  readonly children: readonly Image[]
}

/** What a manifest says of something else. */
export interface Descriptor {
  readonly mediaType: string
  readonly digest: string
  readonly size: number
  readonly annotations?: Readonly<Record<string, string>>
  readonly platform?: Platform
}

export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
}

export interface Layer {
  readonly blob: Blob
  /** Of an OCI layer; a Docker image calls it by Docker's name. */
  readonly mediaType: string
  /** Digest of the uncompressed bytes. */
  readonly diffId: string
  readonly annotations?: Readonly<Record<string, string>>
}

export type ImageFormat = 'oci' | 'docker'
export type Compression = 'gzip' | 'zstd' | 'none'

const OCI = 'application/vnd.oci.image'
const DOCKER = 'application/vnd.docker'

export const mediaTypes = {
  oci: {
    manifest: `${OCI}.manifest.v1+json`,
    index: `${OCI}.index.v1+json`,
    config: `${OCI}.config.v1+json`,
    layer: `${OCI}.layer.v1.tar`,
  },
  docker: {
    manifest: `${DOCKER}.distribution.manifest.v2+json`,
    index: `${DOCKER}.distribution.manifest.list.v2+json`,
    config: `${DOCKER}.container.image.v1+json`,
    layer: `${DOCKER}.image.rootfs.diff.tar.gzip`,
  },
} as const

/** The platform of this machine's nodes. */
export function hostPlatform(): Platform {
  const names: Partial<Record<string, string>> = { x64: 'amd64', ppc64: 'ppc64le' }
  return { os: 'linux', architecture: names[process.arch] ?? process.arch }
}

export function sha256(bytes: Uint8Array | string): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`
}

export function blobOf(bytes: Buffer): Blob {
  return { digest: sha256(bytes), size: bytes.length, read: async () => bytes }
}

/**
 * A layer of these entries. Its bytes follow from the entries and from the zlib of this Node.
 *
 * @param compression - default: gzip
 */
export function layerOf(entries: readonly TarEntry[], compression: Compression = 'gzip'): Layer {
  return compressLayer(tar(entries), compression)
}

/** Level 1 for gzip: images for tests are made more often than they are kept. */
export function compressLayer(archive: Buffer, compression: Compression = 'gzip'): Layer {
  const bytes = {
    gzip: () => gzipSync(archive, { level: 1 }),
    zstd: () => zstdCompressSync(archive),
    none: () => archive,
  }[compression]()
  const suffix = compression === 'none' ? '' : `+${compression}`
  return {
    blob: blobOf(bytes),
    mediaType: `${mediaTypes.oci.layer}${suffix}`,
    diffId: sha256(archive),
  }
}

/** What a container of the image runs by default, in the words of the OCI image configuration. */
export interface ContainerConfig {
  readonly Entrypoint?: readonly string[]
  readonly Cmd?: readonly string[]
  readonly Env?: readonly string[]
  readonly User?: string
  readonly WorkingDir?: string
  readonly StopSignal?: string
  readonly ExposedPorts?: Readonly<Record<string, Record<string, never>>>
  readonly Labels?: Readonly<Record<string, string>>
}

export interface ImageOptions {
  readonly layers: readonly Layer[]
  readonly config?: ContainerConfig
  /** Default: linux on this machine's processor. */
  readonly platform?: Platform
  /** Default: `oci`. Docker's has gzip layers only. */
  readonly format?: ImageFormat
  readonly annotations?: Readonly<Record<string, string>>
  /** When it was made, in the words of the configuration; default: it does not say. */
  readonly created?: string
  /** OCI 1.1: what kind of thing it is, when it is no image. */
  readonly artifactType?: string
  /** OCI 1.1: the image that this one is about (a signature, an SBOM). */
  readonly subject?: Image
}

/** A single-platform image of layers and a configuration. */
export function imageOf(options: ImageOptions): Image {
  const format = options.format ?? 'oci'
  const names = mediaTypes[format]
  const platform = options.platform ?? hostPlatform()
  const config = blobOf(
    json({
      ...platform,
      ...(options.created !== undefined && { created: options.created }),
      config: options.config ?? {},
      rootfs: { type: 'layers', diff_ids: options.layers.map(({ diffId }) => diffId) },
      history: options.layers.map(() => ({ created_by: 'kip test image' })),
    }),
  )
  const layers = options.layers.map((layer): Descriptor => {
    const { digest, size } = layer.blob
    const annotations = layer.annotations && { annotations: layer.annotations }
    return { mediaType: layerType(layer, format), digest, size, ...annotations }
  })
  const manifest = {
    schemaVersion: 2,
    mediaType: names.manifest,
    ...(options.artifactType && { artifactType: options.artifactType }),
    config: { mediaType: names.config, digest: config.digest, size: config.size },
    layers,
    ...(options.subject && { subject: descriptorOf(options.subject) }),
    ...(options.annotations && { annotations: options.annotations }),
  }
  const blobs = [config, ...options.layers.map(({ blob }) => blob)]
  return manifestOf(names.manifest, manifest, { blobs, children: [] })
}

function layerType(layer: Layer, format: ImageFormat): string {
  if (format === 'oci') return layer.mediaType
  if (layer.mediaType.endsWith('+gzip')) return mediaTypes.docker.layer
  throw new RangeError(`a Docker image has no layers of ${layer.mediaType}`)
}

export interface IndexEntry {
  readonly image: Image
  readonly platform?: Platform
  readonly annotations?: Readonly<Record<string, string>>
}

/** An image index, or with `docker` a manifest list. */
export function indexOf(entries: readonly IndexEntry[], format: ImageFormat = 'oci'): Image {
  const mediaType = mediaTypes[format].index
  const manifests = entries.map(
    ({ image, platform, annotations }): Descriptor => ({
      ...descriptorOf(image),
      ...(annotations && { annotations }),
      ...(platform && { platform }),
    }),
  )
  const children = entries.map(({ image }) => image)
  return manifestOf(mediaType, { schemaVersion: 2, mediaType, manifests }, { blobs: [], children })
}

/**
 * What BuildKit puts beside an image: a manifest of in-toto statements for a platform that does not exist, tied to the image
 * by annotations of its index entry.
 */
export function attestationOf(image: Image): IndexEntry {
  const statement = json({
    _type: 'https://in-toto.io/Statement/v0.1',
    predicateType: 'https://slsa.dev/provenance/v0.2',
    subject: [{ name: 'kip-test', digest: { sha256: image.digest.slice('sha256:'.length) } }],
    predicate: { buildType: 'https://mobyproject.org/buildkit@v1' },
  })
  const layer: Layer = {
    blob: blobOf(statement),
    mediaType: 'application/vnd.in-toto+json',
    diffId: sha256(statement),
    annotations: { 'in-toto.io/predicate-type': 'https://slsa.dev/provenance/v0.2' },
  }
  const platform: Platform = { os: 'unknown', architecture: 'unknown' }
  return {
    image: imageOf({ layers: [layer], platform }),
    platform,
    annotations: {
      'vnd.docker.reference.digest': image.digest,
      'vnd.docker.reference.type': 'attestation-manifest',
    },
  }
}

export function descriptorOf(image: Image): Descriptor {
  return { mediaType: image.mediaType, digest: image.digest, size: image.bytes.length }
}

/** An image of a manifest as it is to be sent: for what {@link imageOf} and {@link indexOf} do not make. */
export function manifestOf(
  mediaType: string,
  content: unknown,
  parts: Pick<Image, 'blobs' | 'children'>,
): Image {
  const bytes = json(content)
  return { mediaType, digest: sha256(bytes), bytes, ...parts }
}

function json(content: unknown): Buffer {
  return Buffer.from(JSON.stringify(content))
}
