import type { Registry } from '../registries.ts'
import { type TestImageName, type TestImages, testImageTags } from './catalogue.ts'

/**
 * Puts test images into a registry under their names and tags, all at once.
 *
 * @param names - default: all
 * @returns each image's reference by tag (`origin.test:5000/nginx:1`), as it stands in a pod
 */
export async function pushTestImages(
  registry: Registry,
  images: TestImages,
  names: readonly TestImageName[] = Object.keys(testImageTags) as TestImageName[],
): Promise<Readonly<Partial<Record<TestImageName, string>>>> {
  const pushed = names.map(async (name) => {
    const tag = testImageTags[name]
    await registry.push(images[name], name, tag)
    return [name, `${registry.host}/${name}:${tag}`] as const
  })
  return Object.fromEntries(await Promise.all(pushed))
}
