import { createCipheriv, createHash } from 'node:crypto'
import { type Blob, type Image, mediaTypes, sha256 } from '../cluster/images/image.ts'

/** Bytes that look random and are the same for the same seed. */
export function noise(seed: string, size: number): Buffer {
  const key = createHash('sha256').update(seed).digest().subarray(0, 16)
  return createCipheriv('aes-128-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size))
}

export function digestOf(bytes: Buffer, algorithm = 'sha256'): string {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}

function blob(bytes: Buffer, algorithm = 'sha256'): Blob {
  return { digest: digestOf(bytes, algorithm), size: bytes.length, read: async () => bytes }
}

export interface SampleOptions {
  readonly layers: readonly Buffer[]
  readonly platform?: string
  readonly format?: 'oci' | 'docker'
  readonly layerType?: string
  readonly algorithm?: 'sha256' | 'sha512'
  /** When it was made; default: it does not say. */
  readonly created?: string
  /** Fields of the manifest besides config and layers. */
  readonly extra?: Readonly<Record<string, unknown>>
  /** Layer descriptors without bytes here. */
  readonly foreign?: readonly Readonly<Record<string, unknown>>[]
}

/** An image of the given layers; they are bytes, no archives, which no registry looks at. */
export function sampleImage(options: SampleOptions): Image {
  const {
    layers,
    platform = 'linux/amd64',
    format = 'oci',
    algorithm,
    created,
    extra,
    foreign = [],
  } = options
  const types = mediaTypes[format]
  const [os, architecture, variant] = platform.split('/')
  const config = blob(
    Buffer.from(
      JSON.stringify({ os, architecture, variant, created, layers: layers.length, extra }),
    ),
    algorithm,
  )
  const blobs = layers.map((bytes) => blob(bytes, algorithm))
  const layerType = options.layerType ?? types.layer
  return manifest(types.manifest, [config, ...blobs], {
    config: { mediaType: types.config, digest: config.digest, size: config.size },
    layers: [
      ...foreign,
      ...blobs.map(({ digest, size }) => ({ mediaType: layerType, digest, size })),
    ],
    ...extra,
  })
}

/** An artifact (signature, SBOM) that names `subject`. */
export function sampleArtifact(subject: Image, artifactType: string, content: string): Image {
  const empty = blob(Buffer.from('{}'))
  const layer = blob(Buffer.from(content))
  return manifest(mediaTypes.oci.manifest, [empty, layer], {
    artifactType,
    config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: empty.digest, size: 2 },
    layers: [{ mediaType: 'application/octet-stream', digest: layer.digest, size: layer.size }],
    subject: { mediaType: subject.mediaType, digest: subject.digest, size: subject.bytes.length },
    annotations: { 'org.example.kind': artifactType },
  })
}

/** An index with one entry for each image. */
export function sampleIndex(
  entries: readonly {
    readonly image: Image
    readonly platform?: string
    readonly attestationOf?: Image
  }[],
  format: 'oci' | 'docker' = 'oci',
): Image {
  const manifests = entries.map(({ image, platform, attestationOf }) => {
    const [os, architecture, variant] = (platform ?? 'unknown/unknown').split('/')
    return {
      mediaType: image.mediaType,
      digest: image.digest,
      size: image.bytes.length,
      ...(platform === undefined && attestationOf === undefined
        ? {}
        : { platform: { os, architecture, ...(variant && { variant }) } }),
      ...(attestationOf && {
        annotations: {
          'vnd.docker.reference.type': 'attestation-manifest',
          'vnd.docker.reference.digest': attestationOf.digest,
        },
      }),
    }
  })
  const mediaType = mediaTypes[format].index
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }))
  return {
    mediaType,
    digest: sha256(bytes),
    bytes,
    blobs: [],
    children: entries.map(({ image }) => image),
  }
}

function manifest(
  mediaType: string,
  blobs: readonly Blob[],
  fields: Readonly<Record<string, unknown>>,
): Image {
  // Spaces are legal and survive only where bytes are kept as they are.
  const bytes = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType, ...fields }, undefined, 3),
  )
  return { mediaType, digest: sha256(bytes), bytes, blobs, children: [] }
}
