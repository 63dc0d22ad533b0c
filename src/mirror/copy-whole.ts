import {
  type CopyOptions,
  copyImage,
  type ImageReference,
  type RegistryClient,
  RegistryError,
  verifyImage,
} from '@containers/image-copy'

/**
 * Copies an image and verifies the copy. Where the backup's tag is right already nothing is looked at, yet a layer may be lost
 * below it, as by garbage collection or a restore in parts: what verification then misses is sent.
 *
 * @returns the digest that was verified
 */
export async function copyWhole(
  client: RegistryClient,
  source: ImageReference,
  target: ImageReference,
  options: Pick<CopyOptions, 'signal' | 'onEvent'>,
): Promise<string> {
  const { digest } = await copyImage(client, source, target, options)
  try {
    await verifyImage(client, target, digest, options)
  } catch (error) {
    if (!(error instanceof RegistryError) || error.code !== 'COPY_NOT_FOUND') throw error
    await copyImage(client, source, target, { ...options, recheck: true })
    await verifyImage(client, target, digest, options)
  }
  return digest
}
