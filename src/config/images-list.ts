import { dnsLabel, imageReference } from './patterns.ts'
import type { StaticImage } from './settings.ts'

/** The static IMAGES and what was wrong with the rest of them. */
export interface ImagesList {
  readonly images: readonly StaticImage[]
  readonly warnings: readonly string[]
}

const namePattern = new RegExp(dnsLabel, 'u')
const referencePattern = new RegExp(imageReference, 'u')

/**
 * Reads the static IMAGES: `name=image;name=image;…` (space around an item and empty items do not count, a line's end
 * separates too), or a list of `{name, image}`.
 *
 * A bad item costs the others nothing: it is skipped with a warning. A name that no container may have stays as it is
 * here, with a warning. Of two items with one name the last one counts.
 *
 * @returns undefined when the value is neither text nor a list.
 */
export function readImages(value: unknown): ImagesList | undefined {
  const warnings: string[] = []
  const images = new Map<string, string>()
  const items = itemsOf(value)
  if (items === undefined) return undefined
  for (const [index, item] of items.entries()) {
    const image = typeof item === 'string' ? splitItem(item) : fieldsOf(item)
    const shown = typeof item === 'string' ? `'${shorten(item)}'` : `number ${index + 1}`
    const fault =
      image === undefined ? "not of the form name=image; ';' parts items" : faultOf(image)
    if (image === undefined || fault !== undefined) {
      warnings.push(`item ${shown} is skipped: ${fault}`)
      continue
    }
    if (images.has(image.name)) {
      warnings.push(`name '${image.name}' is there twice: the last one, ${image.image}, counts`)
    }
    if (!namePattern.test(image.name)) {
      warnings.push(`item ${shown}: its name is no name of a container, and is made one`)
    }
    images.set(image.name, image.image)
  }
  return { images: [...images].map(([name, image]) => ({ name, image })), warnings }
}

function itemsOf(value: unknown): readonly unknown[] | undefined {
  if (Array.isArray(value)) return value
  if (typeof value !== 'string') return undefined
  return value
    .split(/[;\n]/)
    .map((item) => item.trim())
    .filter((item) => item !== '')
}

function splitItem(item: string): StaticImage | undefined {
  const [name, image, ...rest] = item.split('=')
  if (name === undefined || image === undefined || rest.length > 0) return undefined
  return { name: name.trim(), image: image.trim() }
}

function fieldsOf(item: unknown): StaticImage | undefined {
  if (typeof item !== 'object' || item === null) return undefined
  const { name, image, ...rest } = item as Record<string, unknown>
  const known = typeof name === 'string' && typeof image === 'string'
  return known && Object.keys(rest).length === 0 ? { name, image } : undefined
}

function faultOf({ name, image }: StaticImage): string | undefined {
  if (name === '') return 'it has no name'
  if (!referencePattern.test(image)) return 'its image is no valid image reference'
  return undefined
}

function shorten(item: string): string {
  const redacted = item.replace(/[^\s/=]+@(?!sha\d+:)/g, '[redacted]@')
  return redacted.length > 80 ? `${redacted.slice(0, 77)}…` : redacted
}
