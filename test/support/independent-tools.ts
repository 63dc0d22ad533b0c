import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { installedProgram } from '../bench/peers/build.ts'
import type { Image } from '../cluster/images/image.ts'
import { reportToStderr } from '../cluster/progress.ts'
import type { TestRegistry } from './registry.ts'

/** Tools of others, which judge what the copier left in a registry. */
export interface IndependentTools extends AsyncDisposable {
  /**
   * `crane validate`: manifests, configurations and layers fit each other.
   *
   * @param depth - `whole` unpacks gzip layers, which is all that crane can unpack; `fast` looks whether layers are there
   */
  validate(repository: string, reference: string, depth: 'whole' | 'fast'): Promise<void>
  /** `crane ls`: the tags of a repository, sorted. */
  tags(repository: string): Promise<readonly string[]>
  /** Has regctl read a tag with all around it into an OCI layout; each of `images` must be in there, byte for byte. */
  requireRead(repository: string, tag: string, images: readonly Image[]): Promise<void>
}

const run = promisify(execFile)
const TIMEOUT_MS = 60_000

/** Builds the tools, or finds them built, and has them look at one registry. */
export async function independentTools(registry: TestRegistry): Promise<IndependentTools> {
  const build = { report: reportToStderr }
  const crane = (await installedProgram('crane', 'crane', build)).file
  const regctl = (await installedProgram('regclient', 'regctl', build)).file
  const folder = await mkdtemp(join(tmpdir(), 'kip-independent-'))
  const { user, host, authorityFile } = registry
  const auth = user && Buffer.from(`${user.username}:${user.password}`).toString('base64')
  await writeFile(
    join(folder, 'config.json'),
    JSON.stringify({ auths: auth && { [host]: { auth } } }),
  )
  const options = {
    timeout: TIMEOUT_MS,
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      DOCKER_CONFIG: folder,
      ...(authorityFile && { SSL_CERT_FILE: authorityFile }),
    },
  }
  const plain = authorityFile ? [] : ['--host', `reg=${host},tls=disabled`]
  let reads = 0
  return {
    async validate(repository, reference, depth) {
      const name = `${host}/${repository}${reference.includes(':') ? '@' : ':'}${reference}`
      const fast = depth === 'fast' ? ['--fast'] : []
      const { stdout } = await run(crane, ['validate', ...fast, '--remote', name], options)
      if (!stdout.startsWith('PASS')) throw new Error(`crane validate ${name}: ${stdout}`)
    },
    async tags(repository) {
      const { stdout } = await run(crane, ['ls', `${host}/${repository}`], options)
      return stdout.split('\n').filter(Boolean).sort()
    },
    async requireRead(repository, tag, images) {
      reads += 1
      const layout = join(folder, `read${reads}`)
      const names = [`${host}/${repository}:${tag}`, `ocidir://${layout}:${tag}`]
      const around = ['--referrers', '--digest-tags', '--force-recursive']
      await run(regctl, [...plain, 'image', 'copy', ...around, ...names], options)
      for (const image of images) await requireInLayout(layout, image)
      await rm(layout, { recursive: true })
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

async function requireInLayout(layout: string, image: Image): Promise<void> {
  const wanted = [image.digest, ...image.blobs.map(({ digest }) => digest)]
  for (const digest of wanted) {
    const [algorithm = '', hex = ''] = digest.split(':')
    const bytes = await readFile(join(layout, 'blobs', algorithm, hex))
    const actual = createHash(algorithm).update(bytes).digest('hex')
    if (actual !== hex) throw new Error(`regctl read ${digest} as ${actual}`)
  }
  for (const child of image.children) await requireInLayout(layout, child)
}
