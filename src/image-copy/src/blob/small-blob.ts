import { requireDigest } from '../digest.ts'
import { RegistryError } from '../errors.ts'
import type { Descriptor } from '../image/manifest.ts'
import type { Context } from '../registry/context.ts'
import { readFirst } from '../registry/manifests.ts'
import type { Repository } from '../registry/repository.ts'

/** Whether a blob is in a repository. A registry's answer that contradicts the blob's size counts as no. */
export async function headBlob(
  repository: Repository,
  blob: Descriptor,
  context: Context,
): Promise<boolean> {
  const { endpoint, path, scopes } = repository.write
  const answer = await endpoint.fetch(
    {
      method: 'HEAD',
      url: `/v2/${path}/blobs/${blob.digest}`,
      repository: path,
      scopes,
      expect: [200, 404],
    },
    context,
  )
  const length = answer.headers.get('content-length')
  return answer.status === 200 && (length === undefined || Number(length) === blob.size)
}

/**
 * Reads a blob into memory and verifies it: for image configurations only.
 *
 * @throws RegistryError `COPY_TOO_LARGE` above `maxBytes`, `COPY_DIGEST_MISMATCH`
 */
export async function getSmallBlob(
  repository: Repository,
  blob: Descriptor,
  maxBytes: number,
  context: Context,
): Promise<Buffer> {
  if (blob.size > maxBytes) {
    throw new RegistryError(
      'COPY_TOO_LARGE',
      `blob ${blob.digest}: has ${blob.size} bytes; at most ${maxBytes} are read`,
      repository.party,
    )
  }
  const found = await readFirst(repository, context, async ({ endpoint, path, scopes }, inner) => {
    const url = `/v2/${path}/blobs/${blob.digest}`
    const answer = await endpoint.fetch(
      { method: 'GET', url, repository: path, scopes, expect: [200], maxBytes },
      inner,
    )
    requireDigest(answer.body, blob.digest, `blob ${blob.digest}`, answer.resource.party)
    return answer.body
  })
  if (found === undefined) throw new Error('no place answered')
  return found
}
