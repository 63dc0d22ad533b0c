import { type Image, imageOf } from './image.ts'
import { storedLayer } from './stored-layer.ts'

/** An image of many layers, each of a megabyte that nothing can compress. */
export function manyLayersImage(layers = 60): Image {
  return imageOf({
    layers: Array.from({ length: layers }, (_, number) => storedLayer(`many ${number}`, 1e6)),
  })
}

/** An image of one large layer, by default of 1 GiB. Its bytes are made whenever they are read. */
export function largeImage(bytes: number = 2 ** 30): Image {
  return imageOf({ layers: [storedLayer(`large ${bytes}`, bytes)] })
}
