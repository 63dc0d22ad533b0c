import { formatReference, type ImageReference, parseReference } from '@containers/image-copy'

/** Places that skopeo and others copy to and from besides registries. A host of such a name has a port and a path. */
const transport =
  /^(atomic|containers-storage|dir|docker-archive|docker-daemon|oci|oci-archive|ocidir|ostree|sif|tarball):(?!\d+\/)/
/** In a name of Docker Hub no part before the first slash looks like this. */
const bareHost = /^(?:localhost|[\w-]+(?:\.[\w-]+)+)(?::\d+)?$/i

/**
 * Reads a reference that somebody typed. What Docker Hub would be asked for, and most likely is not meant, is refused.
 *
 * @throws Error that says what to write
 */
export function parseTyped(text: string): ImageReference {
  const kind = transport.exec(text)?.[1]
  if (kind !== undefined)
    throw new Error(`${kind}: is no registry, and only registries are copied from and to`)
  if (bareHost.test(text)) {
    throw new Error(
      `${text} is a registry without a repository: write ${text}/NAME, or docker.io/library/${text} for that of Docker Hub`,
    )
  }
  return parseReference(text)
}

/**
 * Reads a place to copy to.
 *
 * @throws Error as {@link parseTyped}, and where only Docker itself may write
 */
export function parseTypedTarget(text: string): ImageReference {
  const target = parseTyped(text)
  if (text.includes('/')) return target
  throw new Error(
    `the target ${formatReference(target)} is one of Docker's own images: write HOST/${text}`,
  )
}
