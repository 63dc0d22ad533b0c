import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cachedBuild, contentKey } from '../../cluster/cache.ts'
import { checkBuildPossible, runGo } from '../../cluster/go.ts'
import type { Report } from '../../cluster/progress.ts'

export interface BuildOptions {
  readonly report: Report
  readonly signal?: AbortSignal
}

/** Programs that `go install package@version` builds; their versions are named here only. */
const INSTALLED = {
  crane: {
    module: 'github.com/google/go-containerregistry',
    version: 'v0.22.1',
    packages: ['cmd/crane'],
    expectedSeconds: 60,
  },
  regclient: {
    module: 'github.com/regclient/regclient',
    version: 'v0.11.7',
    packages: ['cmd/regctl', 'cmd/regsync'],
    expectedSeconds: 30,
  },
  kwok: {
    module: 'sigs.k8s.io/kwok',
    version: 'v0.8.0',
    packages: ['cmd/kwok'],
    expectedSeconds: 300,
  },
  distribution: {
    module: 'github.com/distribution/distribution/v3',
    version: 'v3.1.2',
    packages: ['cmd/registry'],
    expectedSeconds: 160,
  },
} as const

/** Linked as their releases are: without symbols. */
const LINKER_FLAGS = '-s -w'

/** A program in the cache, and the version that it was built from. */
export interface Program {
  readonly file: string
  readonly version: string
}

/** Builds a published program, or finds it built. */
export async function installedProgram(
  name: keyof typeof INSTALLED,
  command: string,
  options: BuildOptions,
): Promise<Program> {
  const { module, version, packages, expectedSeconds } = INSTALLED[name]
  const wanted = packages.map((path) => `${module}/${path}@${version}`)
  const folder = await cachedBuild({
    ...options,
    name: `bench-${name}`,
    key: await contentKey([process.arch, LINKER_FLAGS, ...wanted]),
    step: `building ${name} ${version}`,
    expectedSeconds,
    build: async (into) => {
      await checkBuildPossible(into, options.signal)
      const args = ['install', '-ldflags', LINKER_FLAGS, ...wanted]
      await runGo({ args, cwd: into, env: { GOBIN: into }, ...signalOf(options) })
    },
  })
  return { file: join(folder, command), version }
}

/** Builds a small program of this repository on a peer's library, or finds it built. */
export async function libraryPeer(
  name: 'informer' | 'oras' | 'podman-image' | 'webhook' | 'ggcr-registry',
  options: BuildOptions,
): Promise<Program> {
  const modules = {
    informer: 'k8s.io/client-go',
    oras: 'oras.land/oras-go/v2',
    'podman-image': 'go.podman.io/image/v5',
    webhook: 'k8s.io/api',
    'ggcr-registry': 'github.com/google/go-containerregistry',
  }
  const source = here(`${name}/`)
  const mod = await readFile(join(source, 'go.mod'), 'utf8')
  const found = new RegExp(`${RegExp.escape(modules[name])} (v\\S+)`).exec(mod)
  // image/v5 reaches for C libraries and container storage unless told that they are not there.
  const tags = ['containers_image_openpgp', 'containers_image_storage_stub']
  const args = ['-tags', tags.join(','), '-ldflags', LINKER_FLAGS]
  const file = await localProgram({ name, source, args, expectedSeconds: 60, options })
  return { file, version: found?.[1] ?? 'unknown' }
}

/** Builds one of the bench's own programs, or finds it built. */
export async function benchProgram(
  name: 'measure' | 'delay-proxy' | 'load-reviews' | 'constant-patch' | 'go-sleep' | 'replay-pods',
  options: BuildOptions,
): Promise<string> {
  const source = here('../programs/')
  const args = ['-ldflags', LINKER_FLAGS]
  return localProgram({ name, source, package: name, args, expectedSeconds: 3, options })
}

interface LocalProgram {
  readonly name: string
  /** Folder with go.mod. */
  readonly source: string
  /** Folder of the program in it; default: the same. */
  readonly package?: string
  readonly args: readonly string[]
  readonly expectedSeconds: number
  readonly options: BuildOptions
}

async function localProgram(program: LocalProgram): Promise<string> {
  const { name, source, args, expectedSeconds, options } = program
  const main = join(source, program.package ?? '.', 'main.go')
  const modFiles = program.package ? ['go.mod'] : ['go.mod', 'go.sum']
  const files = [main, ...modFiles.map((file) => join(source, file))].map((file) => ({ file }))
  const folder = await cachedBuild({
    ...options,
    name: `bench-${name}`,
    key: await contentKey([process.arch, ...args, ...files]),
    step: `building ${name}`,
    expectedSeconds,
    build: async (into) => {
      await checkBuildPossible(into, options.signal)
      const output = join(into, name)
      const build = ['build', ...args, '-o', output, `./${program.package ?? ''}`]
      await runGo({ args: build, cwd: source, ...signalOf(options) })
    },
  })
  return join(folder, name)
}

function signalOf({ signal }: BuildOptions): { signal?: AbortSignal } {
  return signal ? { signal } : {}
}

function here(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}
