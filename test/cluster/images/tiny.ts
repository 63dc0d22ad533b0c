import { createHash } from 'node:crypto'
import { type Image, imageOf, layerOf } from './image.ts'

/**
 * One of any number of different images of one small file; the same number gives the same image. It holds no program: a container
 * of it runs what is mounted into it.
 *
 * @param number - which one
 * @param bytes - size of the file, incompressible; default: 64
 */
export function tinyImage(number: number, bytes = 64): Image {
  const content = createHash('shake256', { outputLength: bytes }).update(`tiny ${number}`).digest()
  return imageOf({
    layers: [layerOf([{ kind: 'file', path: `/tiny/${number}`, content }])],
    config: { Cmd: [`/tiny/${number}`], Labels: { 'test.kip/tiny': String(number) } },
  })
}
