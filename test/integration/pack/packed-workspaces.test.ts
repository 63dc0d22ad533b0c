/** What `npm run pack` makes works where it is installed, outside this tree and without its TypeScript. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { globSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { packWorkspace } from '../../../src/pack.ts'
import { FakeKube, type FakeObject } from '../../support/fake-kube.ts'
import { startRegistry, whyNoRegistry } from '../../support/registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const root = fileURLToPath(new URL('../../..', import.meta.url))
/** A user's: nothing of the npm or the Node that runs the tests. */
const environment = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !/^npm_|^NODE_/i.test(name)),
)
let project: string
const skip = await whyNoRegistry()

const run = async (command: string, args: readonly string[]): Promise<string> => {
  const options = { cwd: project, env: environment, timeout: 120_000 }
  const { stdout } = await promisify(execFile)(command, args, options)
  return stdout
}

/** The first example of a workspace's README. */
async function exampleOf(workspace: string): Promise<string> {
  const text = await readFile(join(root, workspace, 'README.md'), 'utf8')
  return /```ts\n([\s\S]*?)```/.exec(text)?.[1] ?? assert.fail('no example')
}

/** Runs a program of the project's, by plain Node. @returns what it wrote to stdout */
async function runProgram(name: string, code: string): Promise<string> {
  await writeFile(join(project, name), code)
  return await run(process.execPath, [name])
}

before(async () => {
  project = await mkdtemp(join(tmpdir(), 'packed-'))
  await writeFile(join(project, 'package.json'), '{"private":true,"type":"module"}')
  const tarballs = [
    await packWorkspace('src/image-copy', join(project, 'tarballs')),
    await packWorkspace('src/lease-lock', join(project, 'tarballs')),
  ]
  // From this tree, so that no registry is asked.
  const semver = join(root, 'node_modules/semver')
  await run('npm', ['pack', semver, '--silent', '--pack-destination', 'tarballs'])
  const [dependency = ''] = globSync('tarballs/semver-*.tgz', { cwd: project })
  await run('npm', [
    ...['install', '--offline', '--cache', join(project, 'cache'), '--ignore-scripts'],
    ...[...tarballs, join(project, dependency)],
  ])
})
after(() => rm(project, { recursive: true, force: true }))

describe('@containers/image-copy, packed', () => {
  test('copies an image as the first example of its README', { skip }, async () => {
    await using source = await startRegistry()
    await using target = await startRegistry()
    const image = sampleImage({ layers: [noise('packed', 100_000)] })
    await source.client.push(image, 'library/hello', 'v1')
    const stdout = await runProgram(
      'copy.js',
      (await exampleOf('src/image-copy'))
        .replaceAll('localhost:5000', `localhost:${source.host.split(':')[1]}`)
        .replaceAll('localhost:5001', `localhost:${target.host.split(':')[1]}`),
    )
    assert.ok(stdout.startsWith(`${image.digest}: `), stdout)
    assert.equal((await target.client.manifest('backup/hello', 'v1'))?.digest, image.digest)
  })

  test('finds the dependency that it loads for a range of versions', async () => {
    const stdout = await runProgram(
      'select.js',
      `import { selectTags } from '@containers/image-copy'
       console.log(await selectTags(['1.0', '2.0', '3.0'], { range: '>=2' }))`,
    )
    assert.equal(stdout, "[ '2.0', '3.0' ]\n")
  })
})

describe('lease-lock, packed', () => {
  const leases = {
    group: 'coordination.k8s.io',
    version: 'v1',
    plural: 'leases',
    namespace: 'default',
  }
  /** What the example has around it. */
  const around = (server: string): string => `
    import { randomUUID } from 'node:crypto'
    const podName = 'pod'
    const stop = new AbortController()
    const { signal } = stop
    const reconcile = async ({ fencingToken }) => {
      console.log(fencingToken)
      stop.abort()
    }
    const ask = async (method, signal, body) => {
      const url = '${server}/apis/coordination.k8s.io/v1/namespaces/default/leases/mine'
      const headers = { 'content-type': 'application/json' }
      const answer = await fetch(url, { method, signal, headers, body: JSON.stringify(body) })
      if (answer.ok) return await answer.json()
      throw Object.assign(new Error(\`\${method}: \${answer.status}\`), { status: answer.status })
    }
    const api = {
      get: (signal) => ask('GET', signal),
      create: () => { throw new Error('it is there') },
      update: (lease, signal) => ask('PUT', signal, lease),
    }`

  test('leads and gives up its Lease as the first example of its README', async () => {
    const server = await new FakeKube().start()
    try {
      const lease: FakeObject = {
        apiVersion: 'coordination.k8s.io/v1',
        kind: 'Lease',
        metadata: { name: 'mine', namespace: 'default' },
      }
      server.put(leases, lease)
      const example = await exampleOf('src/lease-lock')
      const stdout = await runProgram('lead.js', `${around(server.url)}\n${example}`)
      assert.match(stdout, /^[\w-]+\/1\n$/)
      const holders = server.requests
        .filter(({ method }) => method === 'PUT')
        .map(({ body }) => (body as { spec: { holderIdentity: string } }).spec.holderIdentity)
      assert.match(holders[0] ?? '', /^pod_/)
      assert.equal(holders.at(-1), '')
    } finally {
      await server.stop()
    }
  })
})

describe('the packed workspaces', () => {
  const consumer = `
    import { type CopyResult, copyImage, createRegistryClient, type ImageReference } from '@containers/image-copy'
    import { type Lease, LeaseElector, type LeaseElectorOptions } from 'lease-lock'

    export async function copy(source: ImageReference, target: ImageReference): Promise<number> {
      const client = createRegistryClient({ hosts: () => ({ http: true }), lookup: undefined })
      const { bytes }: CopyResult = await copyImage(client, source, target, { platforms: ['linux/amd64'] })
      // @ts-expect-error: it is a number
      const text: string = bytes
      return text.length
    }
    export const elector = (options: LeaseElectorOptions): LeaseElector => new LeaseElector(options)
    export const holder = (lease: Lease): string | null | undefined => lease.spec?.holderIdentity
  `

  for (const [module, resolution] of [
    ['nodenext', 'nodenext'],
    ['node16', 'node16'],
    ['preserve', 'bundler'],
  ] as const) {
    test(`are typed where modules are resolved as ${resolution}, declarations checked too`, async () => {
      await mkdir(join(project, 'node_modules/@types'), { recursive: true })
      const types = join(project, 'node_modules/@types/node')
      await symlink(join(root, 'node_modules/@types/node'), types).catch(() => undefined)
      await writeFile(join(project, 'consumer.ts'), consumer)
      const args = [
        ...['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--skipLibCheck', 'false'],
        ...['--target', 'esnext', '--lib', 'esnext', '--types', 'node'],
        ...['--module', module, '--moduleResolution', resolution, 'consumer.ts'],
      ]
      const said = await run(join(root, 'node_modules/.bin/tsc'), args).catch(
        (error: { stdout: string }) => error.stdout,
      )
      assert.equal(said, '')
    })
  }

  for (const name of ['@containers/image-copy', 'lease-lock']) {
    test(`hold all that ${name} needs, and nothing that it does not`, async () => {
      const folder = join(project, 'node_modules', name)
      const files = globSync('**/*', { cwd: folder, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1))
      const others = files.filter((file) => !/^dist\/[\w/-]+\.(?:js|d\.ts)$/.test(file))
      assert.deepEqual(others.sort(), ['LICENSE', 'README.md', 'package.json'])
      const { dependencies = {} } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8'))
      const imported = new Set<string>()
      for (const file of files.filter((file) => file.endsWith('.js'))) {
        const text = await readFile(join(folder, file), 'utf8')
        for (const [, from = ''] of text.matchAll(/(?:from |import\(?)'([^.'][^']*)'/g))
          if (!isBuiltin(from)) imported.add(from.split('/')[0] ?? '')
      }
      assert.deepEqual([...imported], Object.keys(dependencies))
    })
  }

  test('show nothing but their entry', async () => {
    const deep = "await import('@containers/image-copy/dist/digest.js')"
    await assert.rejects(runProgram('deep.js', deep), /ERR_PACKAGE_PATH_NOT_EXPORTED/)
  })
})
