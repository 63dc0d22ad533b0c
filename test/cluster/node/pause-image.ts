import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { cachedBuild, contentKey } from '../cache.ts'
import { runCommand } from '../command.ts'
import { imageOf, layerOf } from '../images/image.ts'
import { writeLayout } from '../images/layout.ts'
import type { Report } from '../progress.ts'

/**
 * The image of pods' sandboxes, as an archive that `ctr images import` reads: the `sleep` program and nothing else.
 *
 * @param sleep path of the program
 * @returns path of the archive
 */
export async function pauseArchive(
  sleep: string,
  options: { readonly report: Report; readonly signal?: AbortSignal },
): Promise<string> {
  const folder = await cachedBuild({
    ...options,
    name: 'pause',
    key: await contentKey([{ file: sleep }]),
    step: 'packing the pause image',
    expectedSeconds: 1,
    build: async (into) => {
      const entries = [
        { kind: 'file', path: '/sleep', content: await readFile(sleep), mode: 0o755 },
      ] as const
      const image = imageOf({
        layers: [layerOf(entries)],
        config: { Entrypoint: ['/sleep', 'infinity'] },
      })
      const layout = await mkdtemp(join(into, 'layout-'))
      await writeLayout(layout, image, '1')
      await runCommand('tar', ['-C', layout, '-cf', join(into, 'pause.tar'), '.'], {
        ...(options.signal && { signal: options.signal }),
      })
      await rm(layout, { recursive: true })
    },
  })
  return join(folder, 'pause.tar')
}
