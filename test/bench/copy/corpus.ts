import {
  attestationOf,
  type Image,
  imageOf,
  indexOf,
  type Layer,
  type Platform,
} from '../../cluster/images/image.ts'
import { storedLayer } from '../../cluster/images/stored-layer.ts'
import type { TestRegistryClient } from '../../cluster/registry/client.ts'

const MIB = 2 ** 20
const MB = 1e6

/** How many images there are of the kind that shares bases. */
export const BULK_IMAGES = 200
const BASES = 5

/** Images of one tag (`1`) each, by repository. */
const SINGLE = {
  'bench/large': () =>
    imageOf({
      layers: [
        storedLayer('large 0', 1024 * MIB),
        ...layers(8, (number) => storedLayer(`large ${number + 1}`, 64 * MIB)),
      ],
    }),
  'bench/layers': () =>
    imageOf({ layers: layers(60, (number) => storedLayer(`layers ${number}`, MB)) }),
  'bench/platforms': () => {
    const images = PLATFORMS.map((platform) => ({
      platform,
      image: imageOf({
        platform,
        layers: layers(5, (number) =>
          storedLayer(`platforms ${platform.architecture} ${number}`, 0.5 * MB),
        ),
      }),
    }))
    return indexOf([...images, ...images.map(({ image }) => attestationOf(image))])
  },
  'bench/small': () =>
    imageOf({
      layers: [4 * MB, 0.9 * MB, 0.1 * MB].map((size) => storedLayer(`small ${size}`, size)),
    }),
} as const

export type SingleImage = keyof typeof SINGLE

const PLATFORMS: readonly Platform[] = [
  { os: 'linux', architecture: 'amd64' },
  { os: 'linux', architecture: 'arm64' },
  { os: 'linux', architecture: 'ppc64le' },
  { os: 'linux', architecture: 's390x' },
]

/** Repository of one of the images that share bases. */
export function bulkRepository(number: number): string {
  return `bench/bulk/img${String(number).padStart(3, '0')}`
}

/** Makes an image and puts it into a registry, under the tag `1`. @returns its digest */
export async function pushSingle(client: TestRegistryClient, name: SingleImage): Promise<string> {
  return client.push(SINGLE[name](), name, '1')
}

/** Makes {@link BULK_IMAGES} images on {@link BASES} bases, and puts them into a registry. @returns their digests, in order */
export async function pushBulk(
  client: TestRegistryClient,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const bases = Array.from({ length: BASES }, (_, base) =>
    layers(3, (number) => storedLayer(`base ${base} ${number}`, 2 * MB)),
  )
  const digests: string[] = []
  for (let number = 0; number < BULK_IMAGES; number += 1) {
    signal.throwIfAborted()
    const own = layers(2, (part) => storedLayer(`bulk ${number} ${part}`, 50_000))
    const image: Image = imageOf({ layers: [...(bases[number % BASES] ?? []), ...own] })
    digests.push(await client.push(image, bulkRepository(number), '1'))
  }
  return digests
}

function layers(count: number, make: (number: number) => Layer): readonly Layer[] {
  return Array.from({ length: count }, (_, number) => make(number))
}
