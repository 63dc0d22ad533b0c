/** Whether an image is one that kip is to care for, by its normalised reference. */
export type ImageFilter = (reference: string) => boolean

export interface ImageFilterOptions {
  /** Patterns, see {@link createImageFilter}; an image has to match one. */
  readonly include: readonly string[]
  /** Patterns; an image that matches one is left out whatever `include` says. */
  readonly exclude: readonly string[]
}

/**
 * Makes the filter of images from patterns of normalised references (`docker.io/library/nginx:1`).
 *
 * `*` stands for any characters but `/`, `**` for any at all, `?` for one but `/`. A pattern without tag or digest
 * matches all tags and digests of its names, one without digest all digests of its tags.
 */
export function createImageFilter({ include, exclude }: ImageFilterOptions): ImageFilter {
  const included = include.map(toExpression)
  const excluded = exclude.map(toExpression)
  return (reference) =>
    included.some((pattern) => pattern.test(reference)) &&
    !excluded.some((pattern) => pattern.test(reference))
}

const suffix = '(?:(?::[^:/@]+)?@[^/@]+|:[^:/@]+)?'

function toExpression(pattern: string): RegExp {
  const source = pattern.replaceAll(/\*\*|[*?]|[.[\]]/g, (part) => wildcards[part] ?? `\\${part}`)
  return new RegExp(`^${source}${suffix}$`)
}

const wildcards: Readonly<Record<string, string>> = { '**': '.*', '*': '[^/]*', '?': '[^/]' }
