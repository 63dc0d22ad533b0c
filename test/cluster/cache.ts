import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { withLock } from './lock.ts'
import { type Report, withProgress } from './progress.ts'

/** Builds that nothing asked for in this time make room for newer ones of the same name. */
const KEEP_UNUSED_MS = 14 * 24 * 3600 * 1000

/** `$XDG_CACHE_HOME/kip`, by default `~/.cache/kip`. */
export function cacheFolder(): string {
  return join(process.env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'kip')
}

/** Digest of everything that a build follows from: texts as they are, files by their bytes, in the order given. */
export async function contentKey(
  inputs: readonly (string | { readonly file: string })[],
): Promise<string> {
  const hash = createHash('sha256')
  for (const input of inputs) {
    const bytes = typeof input === 'string' ? Buffer.from(input) : await readFile(input.file)
    hash.update(`${bytes.length}:`).update(bytes)
  }
  return hash.digest('hex').slice(0, 16)
}

export interface CachedBuild {
  /** Short name of what is built; the folder is `<name>-<key>`. */
  readonly name: string
  /** From {@link contentKey}: another key is another build. */
  readonly key: string
  /** What is said while it is built. */
  readonly step: string
  readonly expectedSeconds: number
  /** Fills the folder; a folder of a failed build is thrown away. */
  readonly build: (folder: string) => Promise<void>
  readonly report: Report
  readonly signal?: AbortSignal
}

/**
 * Gives the folder with the result of a build, and builds it first where the cache has none.
 *
 * One build at a time runs on the machine (they use all cores and gigabytes of memory). The folder appears under its name
 * by a rename, so whoever finds it finds it whole.
 */
export async function cachedBuild(options: CachedBuild): Promise<string> {
  const root = cacheFolder()
  const folder = join(root, `${options.name}-${options.key}`)
  if (existsSync(folder)) {
    await utimes(folder, new Date(), new Date()).catch(() => undefined)
    return folder
  }
  const lock = {
    ...(options.signal && { signal: options.signal }),
    onWait: () => options.report(`${options.step}: waiting for another build to end`),
  }
  return withLock(
    join(root, 'build.lock'),
    async () => {
      if (existsSync(folder)) return folder
      await removeAbandoned(root, options.name)
      const temporary = await mkdtemp(join(root, '.building-'))
      try {
        await withProgress(options, () => options.build(temporary))
        await rename(temporary, folder)
      } finally {
        await rm(temporary, { recursive: true, force: true })
      }
      return folder
    },
    lock,
  )
}

/** Under the build lock nobody else builds, so each `.building-` folder is of a tool that was killed. */
async function removeAbandoned(root: string, name: string): Promise<void> {
  await mkdir(root, { recursive: true })
  const build = new RegExp(`^${RegExp.escape(name)}-[0-9a-f]{16}$`)
  for (const entry of await readdir(root)) {
    const path = join(root, entry)
    const abandoned = entry.startsWith('.building-')
    const old = build.test(entry) && (await stat(path)).mtimeMs < Date.now() - KEEP_UNUSED_MS
    if (abandoned || old) await rm(path, { recursive: true, force: true })
  }
}
