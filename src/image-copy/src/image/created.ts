/** Where a manifest or an entry of an index says when its image was made; `created` of a configuration says the same. */
const annotation = 'org.opencontainers.image.created'

/** Before there were container images: what reproducible builds write in place of a time is of 1970 (or 1, or 1980). */
const firstImages = Date.UTC(2013, 0)

/**
 * Reads when an image was made, in RFC 3339 as the specification has it; undefined when the text does not say.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/config.md#properties
 */
export function parseCreated(text: unknown): Date | undefined {
  if (typeof text !== 'string' || !rfc3339.test(text)) return undefined
  const time = Date.parse(text.toUpperCase())
  return time >= firstImages ? new Date(time) : undefined
}

const rfc3339 = /^\d{4}-\d\d-\d\dt\d\d:\d\d:\d\d(?:\.\d{1,30})?(?:z|[+-]\d\d:\d\d)$/i

/** When an image was made by the annotations of it; undefined when they do not say. */
export function createdIn(
  annotations: Readonly<Record<string, string>> | undefined,
): Date | undefined {
  return parseCreated(annotations?.[annotation])
}
