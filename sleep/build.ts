import { execFile } from 'node:child_process'
import { rename, rm } from 'node:fs/promises'
import { parseArgs, promisify } from 'node:util'

/** Processors that the program is written for, by the names that images use. */
export type SleepArchitecture = 'amd64' | 'arm64' | 'ppc64le' | 's390x'

const COMPILERS: Readonly<Record<SleepArchitecture, string>> = {
  amd64: 'x86_64-linux-gnu-gcc',
  arm64: 'aarch64-linux-gnu-gcc',
  ppc64le: 'powerpc64le-linux-gnu-gcc',
  s390x: 's390x-linux-gnu-gcc',
}

/**
 * No libc, no start files, no unwind tables, nothing that differs from run to run. The program has one page-aligned
 * segment: separate ones for code and data would make the file four times as large.
 */
const FLAGS = [
  ...['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-Os', '-ffreestanding', '-nostdlib', '-static'],
  ...['-fno-pie', '-no-pie', '-fno-stack-protector', '-fno-asynchronous-unwind-tables'],
  '-Wl,--build-id=none,-z,noseparate-code,-z,noexecstack,-s',
]

/** What the compiled program follows from, for whoever keeps it in a cache. */
export const sleepSources: readonly string[] = [
  'sleep.c',
  'duration.h',
  'syscalls.h',
  'build.ts',
].map((name) => new URL(name, import.meta.url).pathname)

/** The architecture of this process, by the name that images use; undefined where `sleep` has not been ported. */
export function hostArchitecture(): SleepArchitecture | undefined {
  const names: Partial<Record<string, SleepArchitecture>> = {
    x64: 'amd64',
    arm64: 'arm64',
    ppc64: 'ppc64le',
    s390x: 's390x',
  }
  return names[process.arch]
}

/**
 * Compiles `sleep` with gcc; the file appears under its name whole or not at all.
 *
 * @param options.output - path of the program to make
 * @param options.architecture - default: this machine's; another needs Debian's cross compiler (`gcc-aarch64-linux-gnu`,
 *   …) and its kernel headers (`linux-libc-dev-arm64-cross`, …)
 * @throws Error with the compiler's words when it fails or is missing
 */
export async function buildSleep(options: {
  readonly output: string
  readonly architecture?: SleepArchitecture
  readonly signal?: AbortSignal
}): Promise<void> {
  const architecture = options.architecture ?? hostArchitecture()
  if (!architecture) throw new Error(`sleep has not been ported to ${process.arch}`)
  const compiler = architecture === hostArchitecture() ? 'gcc' : COMPILERS[architecture]
  const extra = architecture === 'amd64' ? ['-fcf-protection=none'] : []
  const temporary = `${options.output}.${process.pid}`
  const source = new URL('sleep.c', import.meta.url).pathname
  try {
    await promisify(execFile)(compiler, [...FLAGS, ...extra, '-o', temporary, source], {
      env: { PATH: '/usr/local/bin:/usr/bin:/bin', LC_ALL: 'C' },
      ...(options.signal && { signal: options.signal }),
    })
    await rename(temporary, options.output)
  } catch (cause) {
    await rm(temporary, { force: true })
    options.signal?.throwIfAborted()
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`cannot compile sleep for ${architecture} with ${compiler}: ${reason}`, {
      cause,
    })
  }
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({
    options: { architecture: { type: 'string' } },
    allowPositionals: true,
  })
  const output = positionals[0]
  const architecture = values.architecture
  if (!output || (architecture && !(architecture in COMPILERS))) {
    console.error(
      `usage: node sleep/build.ts [--architecture ${Object.keys(COMPILERS).join('|')}] OUTPUT`,
    )
    process.exitCode = 2
  } else {
    await buildSleep({
      output,
      ...(architecture && { architecture: architecture as SleepArchitecture }),
    })
  }
}
