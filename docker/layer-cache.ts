import { mkdir, readdir, readFile, rename, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { cacheFolder } from '../test/cluster/cache.ts'
import { blobOf, compressLayer, type Layer, mediaTypes } from '../test/cluster/images/image.ts'

/** What no build asked for in this time goes when something new comes. */
const KEEP_UNUSED_MS = 14 * 24 * 3600 * 1000

/** Below this, compressing costs less than looking. */
const SMALL_BYTES = 16 << 20

/**
 * Compresses a layer, a large one only the first time: Node's, which takes seconds, is the same in build after build.
 *
 * @param diffId - digest of the archive
 */
export async function compressOnce(archive: Buffer, diffId: string): Promise<Layer> {
  if (archive.length < SMALL_BYTES) return compressLayer(archive)
  const folder = join(cacheFolder(), 'layers')
  const file = join(folder, `${diffId.replace(':', '-')}.gz`)
  const found = await readFile(file).catch(() => undefined)
  if (found) {
    await utimes(file, new Date(), new Date())
    return { blob: blobOf(found), mediaType: `${mediaTypes.oci.layer}+gzip`, diffId }
  }
  const layer = compressLayer(archive)
  await mkdir(folder, { recursive: true })
  await removeUnused(folder)
  const temporary = `${file}.${process.pid}`
  await writeFile(temporary, await layer.blob.read())
  await rename(temporary, file)
  return layer
}

async function removeUnused(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const file = join(folder, name)
    const { mtimeMs } = await stat(file)
    if (mtimeMs < Date.now() - KEEP_UNUSED_MS) await rm(file, { force: true })
  }
}
