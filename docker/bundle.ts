import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'

/** What Node is given before the bundle's main file, as the image has it. */
export function nodeFlags(): readonly string[] {
  const dockerfile = readFileSync(new URL('Dockerfile', import.meta.url), 'utf8')
  const entrypoint: readonly string[] = JSON.parse(/^ENTRYPOINT (.*)$/m.exec(dockerfile)?.[1] ?? '')
  return entrypoint.slice(1, -1)
}

/** Libraries in CommonJS ask for these names, which an ES module does not have. */
const COMMONJS_NAMES = [
  "import { createRequire as kipCreateRequire } from 'node:module'",
  'const require = kipCreateRequire(import.meta.url)',
  'const __filename = import.meta.filename',
  'const __dirname = import.meta.dirname',
].join(';')

/**
 * Bundles kip and its libraries into ES modules for Node: `main.js`, and `chunks/` with what is only loaded when it is
 * wanted (a command, the Kubernetes client's authentication), so that it costs a start nothing.
 *
 * The code is not minified: a stack trace names functions, and memory hardly differs.
 *
 * @param output - folder, made when missing
 * @param entry - default: kip's main file; the bundle's is `main.js` whatever it is
 */
export async function bundle(output: string, entry = 'src/main.ts'): Promise<void> {
  await build({
    absWorkingDir: fileURLToPath(new URL('..', import.meta.url)),
    entryPoints: { main: entry },
    outdir: output,
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node24',
    // A library in CommonJS that is only loaded when wanted would come without its names.
    mainFields: ['module', 'main'],
    entryNames: '[name]',
    chunkNames: 'chunks/[name]-[hash]',
    // The licences of what is bundled ask that their words stay with it.
    legalComments: 'linked',
    minifySyntax: true,
    banner: { js: `${COMMONJS_NAMES};` },
    logLevel: 'silent',
  })
  await writeFile(join(output, 'package.json'), '{"type":"module"}\n')
}
//
