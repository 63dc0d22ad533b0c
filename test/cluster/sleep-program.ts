import { join } from 'node:path'
import { buildSleep, sleepSources } from '../../sleep/build.ts'
import { cachedBuild, contentKey } from './cache.ts'
import { ensurePackages } from './packages.ts'
import type { Report } from './progress.ts'

/**
 * The static `sleep` for this machine's processor, from the cache or newly compiled with Debian's gcc.
 *
 * @returns path of the program; it is alone in its folder
 */
export async function sleepProgram(options: {
  readonly report: Report
  readonly signal?: AbortSignal
}): Promise<string> {
  const folder = await cachedBuild({
    ...options,
    name: 'sleep',
    key: await contentKey([process.arch, ...sleepSources.map((file) => ({ file }))]),
    step: 'compiling sleep',
    expectedSeconds: 1,
    build: async (into) => {
      await ensurePackages(['gcc', 'linux-libc-dev'], options)
      await buildSleep({
        output: join(into, 'sleep'),
        ...(options.signal && { signal: options.signal }),
      })
    },
  })
  return join(folder, 'sleep')
}
