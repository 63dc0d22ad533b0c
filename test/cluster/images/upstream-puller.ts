import { busyboxEntries } from './debian-layers.ts'
import { type Image, imageOf, layerOf } from './image.ts'

/**
 * An image of the shape of kubernetes-image-puller's: a shell with `cp`, a program of Go at `/bin/sleep` where others have
 * the shell's, and a user of its own. To be pushed as `…/kubernetes-image-puller`.
 *
 * @param sleep - the program, which takes a Go duration
 */
export async function upstreamPullerImage(
  sleep: Buffer,
  options: { readonly signal?: AbortSignal } = {},
): Promise<Image> {
  const entries = await busyboxEntries(options)
  const shell = layerOf(entries.filter(({ path }) => path !== '/bin/sleep'))
  const own = layerOf([{ kind: 'file', path: '/bin/sleep', content: sleep, mode: 0o755 }])
  return imageOf({ layers: [shell, own], config: { Cmd: ['/bin/sleep', '720h'], User: '65532' } })
}
