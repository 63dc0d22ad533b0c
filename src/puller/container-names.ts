import { shortHash } from './short-hash.ts'

/** Containers that kip itself puts into a pod; no image may have their names. */
export const copyContainer = 'copy-sleep'
/** The container that stays, where one does for all images of a pod. */
export const holderContainer = 'holder'

/** RFC 1123 label. */
const limit = 63

/** Digits by which the hash grows while a name is taken, and the most that it grows to. */
const hashStep = 8
const mostDigits = 48

/** What shows an image need not show all of it: etcd has a name four times an image and node. */
const readableLimit = 12

/**
 * Name of the container that pulls an image: the name that the user gave it in `IMAGES`, else one that shows the image
 * (`nginx-1-27-3f9a2b1c`).
 *
 * A given name is made a DNS label (lower case, `-` for what may not stand there); where that, or another image in the
 * same pod, makes it ambiguous, the reference's hash is put behind it, and a number where that is taken too.
 *
 * @param taken names that are used in the pod already
 */
export function containerName(
  reference: string,
  given: string | undefined,
  taken: ReadonlySet<string>,
): string {
  const free = (name: string): boolean =>
    name !== '' && name !== copyContainer && name !== holderContainer && !taken.has(name)
  if (given !== undefined && isLabel(given) && free(given)) return given
  const stem = slug(given ?? readable(reference)).slice(
    0,
    given === undefined ? readableLimit : limit,
  )
  for (let attempt = 1; ; attempt += 1) {
    const digits = attempt * hashStep
    const suffix =
      digits <= mostDigits ? shortHash(reference, digits) : `${shortHash(reference)}-${attempt}`
    const head = stem.slice(0, limit - suffix.length - 1).replace(/-+$/, '')
    const name = head === '' ? suffix : `${head}-${suffix}`
    if (free(name)) return name
  }
}

function isLabel(text: string): boolean {
  return text.length <= limit && /^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/.test(text)
}

function slug(text: string): string {
  return text
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, '-')
    .replaceAll(/^-+|-+$/g, '')
}

/** Last part of the repository, and the tag or the start of the digest. */
function readable(reference: string): string {
  const [named = '', digest] = reference.split('@')
  const last = named.slice(named.lastIndexOf('/') + 1)
  if (last.includes(':') || digest === undefined) return last
  return `${last}-${digest.slice(digest.indexOf(':') + 1).slice(0, 12)}`
}
