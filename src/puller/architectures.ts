import type { Ground } from './ground.ts'

/**
 * Which nodes can run an image.
 *
 * @param platforms of the image's index (`linux/amd64`, `linux/arm/v7`); undefined or none: not known
 * @returns their architectures, in order; none: all nodes can; undefined: none can
 */
export function architecturesOf(
  platforms: readonly string[] | undefined,
  { architectures: present }: Pick<Ground, 'architectures'>,
): readonly string[] | undefined {
  const own = new Set(
    (platforms ?? []).flatMap((platform) => {
      const [os, architecture] = platform.split('/')
      return os === 'linux' && architecture !== undefined ? [architecture] : []
    }),
  )
  // Attestations and the like stand beside real platforms as unknown/unknown.
  const known = (platforms ?? []).some((platform) => !platform.startsWith('unknown'))
  if (!known || present.size === 0) return []
  const able = [...present].filter((one) => own.has(one))
  if (able.length === 0) return undefined
  return able.length === present.size ? [] : able.sort()
}
