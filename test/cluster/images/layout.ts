import { mkdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Blob, type Descriptor, descriptorOf, type Image } from './image.ts'

interface ManifestContent {
  readonly manifests?: readonly Descriptor[]
  readonly config?: Descriptor
  readonly layers?: readonly Descriptor[]
}

/** Writes an image as an OCI image layout, where its tag is the annotation `org.opencontainers.image.ref.name`. */
export async function writeLayout(folder: string, image: Image, tag = 'latest'): Promise<void> {
  await mkdir(join(folder, 'blobs', 'sha256'), { recursive: true })
  await writeManifest(folder, image)
  const annotations = { 'org.opencontainers.image.ref.name': tag }
  const index = { schemaVersion: 2, manifests: [{ ...descriptorOf(image), annotations }] }
  await writeFile(join(folder, 'index.json'), JSON.stringify(index))
  await writeFile(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
}

async function writeManifest(folder: string, image: Image): Promise<void> {
  for (const child of image.children) await writeManifest(folder, child)
  for (const blob of image.blobs) await writeFile(blobFile(folder, blob.digest), await blob.read())
  await writeFile(blobFile(folder, image.digest), image.bytes)
}

/**
 * Reads the one image of an OCI image layout; blobs stay on disk until they are wanted.
 *
 * @throws Error when the layout has no image, or more than one
 */
export async function readLayout(folder: string): Promise<Image> {
  const index: ManifestContent = JSON.parse(await readFile(join(folder, 'index.json'), 'utf8'))
  const [only, ...others] = index.manifests ?? []
  if (!only || others.length > 0) throw new Error(`${folder} does not hold exactly one image`)
  return readManifest(folder, only)
}

async function readManifest(folder: string, { digest, mediaType }: Descriptor): Promise<Image> {
  const bytes = await readFile(blobFile(folder, digest))
  const content: ManifestContent = JSON.parse(bytes.toString())
  const children = (content.manifests ?? []).map((child) => readManifest(folder, child))
  const blobs = [...(content.config ? [content.config] : []), ...(content.layers ?? [])]
  return {
    mediaType,
    digest,
    bytes,
    blobs: await Promise.all(blobs.map((blob) => fileBlob(folder, blob.digest))),
    children: await Promise.all(children),
  }
}

async function fileBlob(folder: string, digest: string): Promise<Blob> {
  const file = blobFile(folder, digest)
  return { digest, size: (await stat(file)).size, read: () => readFile(file) }
}

function blobFile(folder: string, digest: string): string {
  return join(folder, 'blobs', ...digest.split(':'))
}
