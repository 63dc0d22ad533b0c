/**
 * Packs the workspaces for use outside this tree: `node start.mjs src/pack.ts [FOLDER]`; default: `dist`.
 *
 * Here they run from their TypeScript, which Node runs nowhere below `node_modules`. npm packs a folder as it is, with the
 * `exports` that the tree needs: so each workspace is built into a folder of its own, where `publishConfig.exports` takes their
 * place, as with pnpm and yarn. It has no source maps: what tsc leaves is the source without its types, comments and all.
 */
import { spawnSync } from 'node:child_process'
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

/** What is read here of a package.json. */
interface Manifest {
  readonly scripts?: unknown
  readonly publishConfig?: { readonly exports?: unknown }
  readonly workspaces?: readonly string[]
}

const root = fileURLToPath(new URL('..', import.meta.url))

/**
 * Builds a workspace and packs it as npm does.
 *
 * @param workspace its folder, relative to the tree's root
 * @param into folder for the tarball, made when missing
 * @returns path of the tarball
 * @throws Error when tsc or npm fails; what it said is on stderr
 */
export async function packWorkspace(workspace: string, into: string): Promise<string> {
  const from = join(root, workspace)
  const stage = await mkdtemp(join(tmpdir(), 'kip-pack-'))
  try {
    const { scripts, publishConfig, ...manifest } = await readManifest(from)
    const packed = { ...manifest, exports: publishConfig?.exports }
    await writeFile(join(stage, 'package.json'), `${JSON.stringify(packed, undefined, 2)}\n`)
    await copyFile(join(from, 'README.md'), join(stage, 'README.md'))
    await copyFile(join(root, 'LICENSE'), join(stage, 'LICENSE'))
    run(join(root, 'node_modules', '.bin', 'tsc'), [
      ...['--project', from, '--outDir', join(stage, 'dist')],
      ...['--tsBuildInfoFile', join(stage, 'tsbuildinfo')],
      ...['--emitDeclarationOnly', 'false', '--rewriteRelativeImportExtensions'],
    ])
    await mkdir(into, { recursive: true })
    const told = run('npm', ['pack', stage, '--json', '--pack-destination', into])
    const [{ filename }] = JSON.parse(told) as [{ filename: string }]
    return join(into, filename)
  } finally {
    await rm(stage, { recursive: true, force: true })
  }
}

async function readManifest(folder: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest
}

/** @returns what it wrote to stdout */
function run(command: string, args: readonly string[]): string {
  const { status, stdout, error } = spawnSync(command, args, {
    cwd: root,
    stdio: ['ignore', 'pipe', 'inherit'],
    encoding: 'utf8',
  })
  if (error) throw error
  if (status === 0) return stdout
  throw new Error(`${command} ${args[0]} failed with exit code ${status}: ${stdout}`)
}

async function main([into = join(root, 'dist')]: readonly string[]): Promise<void> {
  const { workspaces = [] } = await readManifest(root)
  for (const workspace of workspaces) console.log(await packWorkspace(workspace, resolve(into)))
}

if (import.meta.main) await main(process.argv.slice(2))
