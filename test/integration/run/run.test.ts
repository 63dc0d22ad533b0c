/** The program as a process, outside of the cluster: from its source, as when developing, and as it is shipped. */
import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { bundle, nodeFlags } from '../../../docker/bundle.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import { eventually } from '../../cluster/index.ts'
import { freePorts } from '../../cluster/ports.ts'
import { readCachedImages } from '../../support/cached-images.ts'
import { ownCluster } from '../../support/own-cluster.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'
import { roleKubeconfig } from '../../support/role-client.ts'

/** What Node is given: its flags and the program. */
type Program = readonly string[]

const fromSource: Program = [
  '--disable-warning=ExperimentalWarning',
  fileURLToPath(new URL('../../../src/main.ts', import.meta.url)),
]
const crd = fileURLToPath(new URL('../../../deploy/manifests/crd.yaml', import.meta.url))

interface Kip {
  readonly child: ChildProcess
  readonly exit: Promise<number | string>
  /** Everything that it printed so far. */
  output(): string
}

/** Starts kip with nothing of this process's environment but PATH. */
function kip(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  program: Program = fromSource,
): Kip {
  const child = spawn(process.execPath, [...program, ...args], {
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text
    })
  const exit = once(child, 'close').then(([code, signal]) => code ?? signal)
  return { child, exit, output: () => output }
}

describe('wrong input', () => {
  it('tells all faults of the settings at once, each by the name it was given under', async () => {
    const { exit, output } = kip(['run', '--mirror.registri=x', '--port=99999'], {
      KIP_LOG_LEVEL: 'loud',
      KIP_MIROR_REGISTRY: 'x',
    })
    assert.equal(await exit, 2)
    const lines = output().trim().split('\n')
    for (const name of ['--mirror.registri', '--port', 'KIP_LOG_LEVEL', 'KIP_MIROR_REGISTRY'])
      assert.equal(lines.filter((line) => line.includes(name)).length, 1, `${name}: ${output()}`)
    assert.equal(lines.length, 4)
  })

  it('says in one line what to do without a way to a cluster', async () => {
    const { exit, output } = kip([], { HOME: '/nonexistent' })
    assert.equal(await exit, 1)
    const lines = output().trim().split('\n')
    assert.match(lines.at(-1) ?? '', /^kip: .*KUBECONFIG/)
  })

  it('says which kubeconfig cannot be read', async () => {
    const { exit, output } = kip(['run', '--kubeconfig=/nonexistent/config'])
    assert.equal(await exit, 1)
    assert.match(output().trim().split('\n').at(-1) ?? '', /\/nonexistent\/config/)
  })

  it('names an unknown command', async () => {
    const { exit, output } = kip(['frobnicate'])
    assert.equal(await exit, 2)
    assert.match(output(), /no command "frobnicate"/)
  })
})

const skip = (await whyNoRegistry()) ?? false
const cluster = await ownCluster()
const ports = await freePorts(5)
/** Of the two replicas' webhooks, of their metrics and probes, and of a kip alone. */
const [webhooks, pages, [alone]] = [ports.slice(0, 2), ports.slice(2, 4), ports.slice(4)]

describe('kip outside the cluster, its webhook by URL', { skip }, () => {
  const namespace = `outside-${process.pid}`
  const replicas: Kip[] = []
  let source: TestRegistry
  let backup: TestRegistry
  let folder: string

  before(async () => {
    ;[source, backup] = await Promise.all([startRegistry(), startRegistry()])
    folder = await mkdtemp(join(tmpdir(), 'kip-run-'))
    await bundle(join(folder, 'kip'))
    await source.client.push(tinyImage(1), 'app', '1')
    await source.client.push(tinyImage(2), 'second', '1')
    await source.client.push(tinyImage(3), 'third', '1')
    await cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-f', crd])
    await cluster.kubectl(['create', 'namespace', namespace])
    await cluster.kubectl(['create', 'namespace', `${namespace}-app`])
    for (const [at, port] of webhooks.entries())
      replicas.push(await replica(port, pages[at] ?? 0, at === 0 ? shipped() : fromSource))
  })

  after(async () => {
    for (const { child, exit } of replicas) {
      child.kill('SIGTERM')
      await exit
    }
    await cluster.kubectl(['delete', 'mutatingwebhookconfiguration', 'kip', '--ignore-not-found'])
    await cluster.kubectl(['delete', 'cachedimages', '--all'])
    await cluster.kubectl(['delete', 'namespace', namespace, `${namespace}-app`, '--wait=false'])
    await Promise.all([source?.close(), backup?.close()])
    if (folder) await rm(folder, { recursive: true })
  })

  const shipped = (): Program => [...nodeFlags(), join(folder, 'kip', 'main.js')]

  async function replica(port: number, page: number, program: Program): Promise<Kip> {
    const one = kip(
      [
        'run',
        `--kubeconfig=${cluster.kubeconfig}`,
        `--namespace=${namespace}`,
        `--mirror.registry=${backup.host}/mirror`,
        `--registries.http=${source.host},${backup.host}`,
        `--registries.allow=${source.host}`,
        `--admission.port=${port}`,
        `--admission.url=https://127.0.0.1:${port}/mutate`,
        `--port=${page}`,
        '--puller.images=fine=example.test/fine:1;broken',
      ],
      {},
      program,
    )
    await eventually(
      `ready replica at ${port}`,
      async () => {
        const failed = await Promise.race([one.exit, undefined])
        assert.equal(failed, undefined, one.output())
        return (await fetch(`http://127.0.0.1:${page}/readyz`)).ok
      },
      { timeoutMs: 30_000 },
    ).catch((error: unknown) => {
      throw new Error(one.output(), { cause: error })
    })
    return one
  }

  const reference = (name: string) => `${source.host}/${name}:1`
  const mirrored = (name: string) =>
    eventually(
      `copy of ${name}`,
      async () => {
        const images = await readCachedImages(cluster)
        const one = images.find(({ spec }) => spec.reference === reference(name))
        return one?.status?.mirrors?.find(({ state }) => state === 'Verified')
      },
      { timeoutMs: 40_000 },
    )

  async function createPod(name: string, image: string): Promise<string> {
    const pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: `${namespace}-app` },
      spec: { containers: [{ name: 'main', image }] },
    }
    await cluster.kubectl(['create', '-f', '-'], { input: JSON.stringify(pod) })
    return await cluster.kubectl([
      ...['get', 'pod', '-n', `${namespace}-app`, name],
      ...['-o', 'jsonpath={.spec.containers[0].image}'],
    ])
  }

  it('skips a malformed item of IMAGES, says which, and goes on', () => {
    const lines = replicas[0]?.output().split('\n') ?? []
    const warning = lines.find((line) => line.includes('"broken"') || line.includes("'broken'"))
    assert.match(warning ?? '', /skipped/)
  })

  it('mirrors an image in use and points the next pod at the copy', async () => {
    assert.equal(await createPod('first', reference('app')), reference('app'))
    const copy = await mirrored('app')
    const image = await eventually(
      'rewritten pod',
      async () => {
        const name = `next-${Math.random().toString(36).slice(2, 8)}`
        const image = await createPod(name, reference('app'))
        return image !== reference('app') && image
      },
      { timeoutMs: 15_000 },
    )
    assert.equal(image, `${copy.reference}@${copy.digest}`)
  })

  it('shows, as it is shipped, the certificate that both replicas serve', async () => {
    for (const port of webhooks) {
      const shown = kip(
        [
          ...['certs', '--output=json', `--connect=127.0.0.1:${port}`],
          ...[`--kubeconfig=${cluster.kubeconfig}`, `--namespace=${namespace}`],
        ],
        { KIP_ADMISSION_URL: `https://127.0.0.1:${port}/mutate` },
        shipped(),
      )
      assert.equal(await shown.exit, 0, shown.output())
      assert.deepEqual(JSON.parse(shown.output()).faults, [])
    }
  })

  it('goes on mirroring when the copying process is killed', async () => {
    const leader = replicas.find(({ output }) => output().includes('"msg":"leading"'))
    assert.ok(leader?.child.pid)
    const children = readFileSync(
      `/proc/${leader.child.pid}/task/${leader.child.pid}/children`,
      'utf8',
    )
    const worker = Number(children.trim().split(' ')[0])
    process.kill(worker, 'SIGKILL')
    await createPod('second', reference('second'))
    await mirrored('second')
    assert.match(leader.output(), /mirror worker died/)
  })

  it('leads and mirrors again seconds after the API server is back', async (t) => {
    // Longer than a leader leads without it; the long form, than it takes a back-off to grow to its end.
    const awayMs = process.env.KIP_TEST_LONG === '1' ? 25_000 : 11_000
    await cluster.stopApiServer()
    await sleep(awayMs)
    const told = replicas.map(({ output }) => output().length)
    await cluster.startApiServer()
    const back = performance.now()
    const since = (): string => `${((performance.now() - back) / 1000).toFixed(1)} s`
    await createPod('third', reference('third'))
    await eventually(
      'a leader',
      async () =>
        replicas.some(({ output }, at) => output().slice(told[at]).includes('"msg":"leading"')),
      { timeoutMs: 15_000 },
    )
    t.diagnostic(`led again after ${since()}`)
    await eventually(
      'the image is known',
      async () => {
        const images = await readCachedImages(cluster)
        return images.some(({ spec }) => spec.reference === reference('third'))
      },
      { timeoutMs: 15_000 },
    )
    t.diagnostic(`known after ${since()}`)
    await mirrored('third')
    t.diagnostic(`mirrored after ${since()}`)
  })

  it('tells what registries were asked, by the process that copies too', async () => {
    await eventually(
      'the copying is counted',
      async () => {
        const texts = await Promise.all(
          pages.map(async (port) => (await fetch(`http://127.0.0.1:${port}/metrics`)).text()),
        )
        return ['read', 'write'].every((kind) => {
          const sample = new RegExp(
            `^kip_registry_requests_total\\{.*kind="${kind}",status="2xx"\\}`,
            'm',
          )
          return texts.some((text) => sample.test(text))
        })
      },
      { timeoutMs: 30_000 },
    )
  })

  it('shows metrics without a word of a credential, and ends clean on SIGTERM', async () => {
    const metrics = await (await fetch(`http://127.0.0.1:${pages[0]}/metrics`)).text()
    assert.match(metrics, /^kip_info\{version="/m)
    const one = replicas.shift()
    one?.child.kill('SIGTERM')
    assert.equal(await one?.exit, 0)
    assert.match(one?.output() ?? '', /"msg":"kip ended"/)
  })

  it('has the other replica take the lead', async () => {
    await eventually('new leader', async () => replicas[0]?.output().includes('"msg":"leading"'), {
      timeoutMs: 30_000,
    })
  })
})

/** The Role of KIP's chart, and what its ConfigMap needs to be taken live. */
const kipsRole = [
  {
    apiGroups: [''],
    resources: ['configmaps'],
    resourceNames: ['k8s-image-puller'],
    verbs: ['get', 'watch'],
  },
  {
    apiGroups: ['apps'],
    resources: ['daemonsets'],
    verbs: ['create', 'delete', 'list', 'watch', 'get'],
  },
  { apiGroups: ['apps'], resources: ['deployments'], verbs: ['get'] },
]

/** KIP's Deployment, of no replica here, and the ConfigMap that it takes its variables from. */
const kipsObjects = [
  {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'kubernetes-image-puller' },
    spec: {
      replicas: 0,
      selector: { matchLabels: { app: 'kubernetes-image-puller' } },
      template: {
        metadata: { labels: { app: 'kubernetes-image-puller' } },
        spec: {
          containers: [
            {
              name: 'kubernetes-image-puller',
              image: 'registry.test/kip:1',
              env: [{ name: 'DEPLOYMENT_NAME', value: 'kubernetes-image-puller' }],
              envFrom: [{ configMapRef: { name: 'k8s-image-puller' } }],
            },
          ],
        },
      },
    },
  },
  {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'k8s-image-puller' },
    data: { IMAGES: 'one=registry.test/one:1;two=registry.test/two:2;' },
  },
]

describe("kip in KIP's place: the puller alone", () => {
  const namespace = `alone-${process.pid}`
  let one: Kip | undefined

  let folder = ''

  before(async () => {
    await cluster.kubectl(['create', 'namespace', namespace])
    await cluster.kubectl(['apply', '-n', namespace, '-f', '-'], {
      input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items: kipsObjects }),
    })
    folder = await mkdtemp(join(tmpdir(), 'kip-alone-'))
    const client = await connectCluster({ kubeconfig: cluster.kubeconfig })
    const { kubeconfig } = cluster
    await writeFile(
      join(folder, 'kubeconfig'),
      await roleKubeconfig({ client, kubeconfig, namespace, rules: kipsRole }),
    )
    await client.close()
  })
  after(async () => {
    await rm(folder, { recursive: true })
    one?.child.kill('SIGTERM')
    await one?.exit
    await cluster.kubectl(['delete', 'namespace', namespace, '--wait=false'])
  })

  it("holds the static IMAGES by KIP's variables, under KIP's own Role", async () => {
    one = kip([], {
      KUBECONFIG: join(folder, 'kubeconfig'),
      DEPLOYMENT_NAME: 'kubernetes-image-puller',
      KIP_PORT: `${alone}`,
      NAMESPACE: namespace,
      DAEMONSET_NAME: 'puller',
      IMAGES: 'one=registry.test/one:1;two=registry.test/two:2;',
      CACHING_INTERVAL_HOURS: '1',
      CACHING_MEMORY_REQUEST: '10Mi',
      CACHING_MEMORY_LIMIT: '20Mi',
      NODE_SELECTOR: '{"pool": "fast"}',
      KIP_IMAGE: 'registry.test/kip-sleep:1',
    })
    const templates = await eventually(
      'DaemonSet with both images',
      async () => {
        const listed = await cluster.kubectl(['get', 'daemonsets', '-n', namespace, '-o', 'json'])
        return (
          listed.includes('registry.test/one:1') && listed.includes('registry.test/two:2') && listed
        )
      },
      { timeoutMs: 40_000 },
    ).catch((error: unknown) => {
      throw new Error(one?.output(), { cause: error })
    })
    assert.match(templates, /"pool": "fast"/)
    assert.match(one.output(), /"mode":"alone"/)
    const images = await readCachedImages(cluster)
    assert.ok(!images.some(({ spec }) => spec.reference.startsWith('registry.test/')))
  })

  it('takes a change of its ConfigMap live, and none that is wrong', async () => {
    const patch = (data: object) =>
      cluster.kubectl([
        ...['-n', namespace, 'patch', 'configmap', 'k8s-image-puller', '--type=merge'],
        ...['-p', JSON.stringify({ data })],
      ])
    const shows = (text: string) =>
      eventually(
        text,
        async () =>
          (await cluster.kubectl(['get', 'daemonsets', '-n', namespace, '-o', 'json'])).includes(
            text,
          ),
        { timeoutMs: 40_000 },
      ).catch((error: unknown) => {
        throw new Error(one?.output(), { cause: error })
      })
    await patch({
      CACHING_CPU_REQUEST: '.5',
      CACHING_CPU_LIMIT: '.1',
      IMAGES: 'x=registry.test/no:1',
    })
    await eventually(
      'the fault in the log',
      async () => /the change is not taken: .*cpuRequest/.test(one?.output() ?? ''),
      { timeoutMs: 20_000 },
    )
    await patch({
      CACHING_CPU_REQUEST: '.05',
      CACHING_CPU_LIMIT: '.2',
      IMAGES: 'one=registry.test/one:1;three=registry.test/three:3',
    })
    await shows('registry.test/three:3')
    const listed = await cluster.kubectl(['get', 'daemonsets', '-n', namespace, '-o', 'json'])
    assert.ok(!listed.includes('registry.test/no:1'))
    assert.ok(listed.includes('registry.test/one:1'))
  })
})
