import { readFileSync } from 'node:fs'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type BuildOptions, build, type Plugin } from 'esbuild'
import { precompile } from './precompile.ts'

/** What Node is given before the bundle's main file, as the image has it. */
export function nodeFlags(): readonly string[] {
  const dockerfile = readFileSync(new URL('Dockerfile', import.meta.url), 'utf8')
  const entrypoint: readonly string[] = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(dockerfile)?.[1] ?? '')
  return entrypoint.slice(1, -1)
}

/** The environment that the image gives its process. */
export function imageEnvironment(): Readonly<Record<string, string>> {
  const dockerfile = readFileSync(new URL('Dockerfile', import.meta.url), 'utf8')
  const text = /^ENV ((?:.*\\\n)*.*)$/m.exec(dockerfile)?.[1] ?? ''
  return Object.fromEntries(
    [...text.matchAll(/(\w+)=(\S+)/g)].map(([, name, value]) => [name, value]),
  )
}

/** Libraries in CommonJS ask for these names, which an ES module does not have. */
const COMMONJS_NAMES = [
  "import { createRequire as kipCreateRequire } from 'node:module'",
  'const require = kipCreateRequire(import.meta.url)',
  'const __filename = import.meta.filename',
  'const __dirname = import.meta.dirname',
].join(';')

const MAIN = 'src/main.ts'
/** Commands of kip that run for long, or ask a cluster: what they need is loaded when they are called. */
const LONG_COMMANDS = ['run', 'mirror-worker', 'cli/certs', 'cli/why']

/** Libraries that a command which people wait for may do without. */
const SELDOM = { 'version-range': 'semver/classes/range.js' }

const UNDICI_PARTS = {
  Agent: 'agent.js',
  ProxyAgent: 'proxy-agent.js',
  Socks5ProxyAgent: 'socks5-proxy-agent.js',
}

const common = {
  absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
  bundle: true,
  platform: 'node',
  target: 'node24',
  // A library in CommonJS that is only loaded when wanted would come without its names.
  mainFields: ['module', 'main'],
  // The licences of what is bundled ask that their words stay with it.
  legalComments: 'linked',
  minifySyntax: true,
  logLevel: 'silent',
} as const satisfies BuildOptions

/**
 * Bundles kip and its libraries for Node: `main.js`, and `chunks/` with what is only loaded when it is wanted (a command, the
 * Kubernetes client's authentication), so that it costs a start nothing.
 *
 * kip's own program is CommonJS and compiled ahead, with the commands in it that people wait for: Node's loader of ES modules
 * would take 8 ms of a start and 5 MiB. The code is not minified: a stack trace names functions, and memory hardly differs.
 *
 * @param output - folder, made when missing
 * @param entry - default: kip's main file; the bundle's is `main.js` whatever it is
 */
export async function bundle(output: string, entry: string = MAIN): Promise<void> {
  if (entry !== MAIN) return bundleModules(output, { main: entry })
  await bundleModules(join(output, 'chunks'), {
    ...Object.fromEntries(LONG_COMMANDS.map((name) => [name, `src/${name}.ts`])),
    ...SELDOM,
  })
  await build({
    ...common,
    entryPoints: { kip: MAIN },
    outdir: output,
    format: 'cjs',
    banner: { js: '(function (require, module, exports, __filename, __dirname, importModule) {' },
    footer: { js: '})' },
    define: { 'import.meta.filename': '__filename' },
    plugins: [chunksApart],
  })
  const program = join(output, 'kip.js')
  // What runs as a script, and not as a module of Node's, may not import; its starter does it for it.
  const text = await readFile(program, 'latin1')
  await writeFile(program, text.replaceAll(/\bimport\((?=")/g, 'importModule('))
  await precompile(program, join(output, 'kip.compiled'))
  await copyFile(new URL('start.cjs', import.meta.url), join(output, 'main.js'))
  await writeFile(join(output, 'package.json'), '{"type":"commonjs"}\n')
}

async function bundleModules(
  output: string,
  entryPoints: Readonly<Record<string, string>>,
): Promise<void> {
  await build({
    ...common,
    entryPoints: { ...entryPoints },
    outdir: output,
    splitting: true,
    plugins: [partsOfUndici],
    format: 'esm',
    chunkNames: 'chunks/[name]-[hash]',
    banner: { js: `${COMMONJS_NAMES};` },
    // The text of a module stays in memory. Names stay too, for stack traces.
    minifyWhitespace: true,
  })
  await writeFile(join(output, 'package.json'), '{"type":"module"}\n')
}

/**
 * Of undici the kinds of agent that kip dials by: all of it, with its fetch, web sockets, caches and mocks, would take 4 MiB of
 * heap and 7 of Node's own pages.
 */
const partsOfUndici: Plugin = {
  name: 'parts-of-undici',
  setup: ({ onResolve, onLoad, initialOptions }) => {
    const { absWorkingDir: root = '' } = initialOptions
    onResolve({ filter: /^undici$/ }, ({ importer }) =>
      importer.startsWith(join(root, 'src')) ? { path: 'undici', namespace: 'parts' } : undefined,
    )
    onLoad({ filter: /^undici$/, namespace: 'parts' }, () => ({
      contents: Object.entries(UNDICI_PARTS)
        .map(([name, file]) => `export { default as ${name} } from 'undici/lib/dispatcher/${file}'`)
        .join('\n'),
      resolveDir: root,
    }))
  },
}

const chunksApart: Plugin = {
  name: 'chunks-apart',
  setup: ({ onResolve }) => {
    const chunks = new Map([
      ...LONG_COMMANDS.map((name) => [`./${name}.ts`, name] as const),
      ...Object.entries(SELDOM).map(([name, path]) => [path, name] as const),
    ])
    onResolve({ filter: /./ }, ({ kind, path }) => {
      const name = kind === 'dynamic-import' ? chunks.get(path) : undefined
      return name === undefined ? undefined : { path: `./chunks/${name}.js`, external: true }
    })
  },
}
