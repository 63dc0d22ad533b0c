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
    if (!isMissing(error)) throw error
    await copyImage(client, source, target, { ...options, recheck: true })
    await verifyImage(client, target, digest, options)
  }
  return digest
}

/** Whether a part of a copy is missing from the backup, for all that can be seen now: a backup that does not answer lost nothing. */
export async function isLost(
  client: RegistryClient,
  { registry, repository, digest }: ImageReference & { readonly digest: string },
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await verifyImage(client, { registry, repository, digest }, digest, { signal })
    return false
  } catch (error) {
    signal.throwIfAborted()
    return isMissing(error)
  }
}

function isMissing(error: unknown): boolean {
  return error instanceof RegistryError && error.code === 'COPY_NOT_FOUND'
}
