/**
 * `npm run demo [-- --keep]`: the main job of kip, live, on a real cluster of its own: images are found, mirrored and cached;
 * then one is deleted from its origin, and a pod on an empty new node starts all the same.
 */
import { parseArgs } from 'node:util'
import { connectCluster } from '../../src/kube/connect.ts'
import { createMetrics } from '../../src/metrics/metrics.ts'
import { type ImageState, isWanted } from '../../src/state/cached-image.ts'
import { createClusterStore } from '../../src/state/cluster-store.ts'
import { testImages } from '../cluster/images/catalogue.ts'
import { pushTestImages } from '../cluster/images/fill.ts'
import {
  type Cluster,
  ClusterError,
  downCluster,
  eventually,
  stopOnce,
  upCluster,
} from '../cluster/index.ts'
import { sleepProgram } from '../cluster/sleep-program.ts'
import { deployKip } from '../support/kip.ts'
import { createScreen, type Screen } from './screen.ts'
import { Timeline } from './timeline.ts'
import { namespace, survivor, workloads } from './workloads.ts'

const NAME = 'demo'
/** Twenty times what it takes on an idle machine. */
const PATIENCE_MS = 180_000

const { values } = parseArgs({ options: { keep: { type: 'boolean', default: false } } })
const screen = createScreen(process.stdout)
const report = (line: string) => screen.line(`  ${line}`)
const stop = stopOnce()

process.exitCode = await main(stop).catch((failure: unknown) => {
  // Whatever an interrupted step says of itself, the signal is why.
  const error = stop.aborted ? stop.reason : failure
  console.error(error instanceof ClusterError ? error.message : error)
  return 1
})

async function main(signal: AbortSignal): Promise<number> {
  const began = performance.now()
  const seconds = () => `${((performance.now() - began) / 1000).toFixed(0)} s`
  await downCluster(NAME, { report })
  screen.title('A real Kubernetes: two nodes, and two registries, origin.test and backup.test')
  const cluster = await upCluster({ name: NAME, nodes: 2, owned: !values.keep, report, signal })
  try {
    await show(cluster, signal)
    screen.line(`\nAll of it took ${seconds()}.`)
    if (values.keep) howToLookAround()
    return 0
  } finally {
    await cluster[Symbol.asyncDispose]()
    if (!values.keep) await downCluster(NAME, { report: () => undefined })
  }
}

async function show(cluster: Cluster, signal: AbortSignal): Promise<void> {
  const { origin, backup } = cluster.registries
  const nodes = cluster.nodes.map(({ name }) => name)
  report(`Kubernetes ${cluster.state.kubernetes} with nodes ${nodes.join(' and ')}`)
  const images = await testImages({ sleepProgram: await sleepProgram({ report }), report, signal })
  await pushTestImages(origin, images)

  screen.title('kip: two pods, by kubectl apply -k deploy/manifests')
  await deployKip(cluster, { report, config: { KIP_MIRROR_REGISTRY: `${backup.host}/mirror` } })
  await eventually(
    'webhook configuration',
    () => cluster.kubectl(['get', 'mutatingwebhookconfiguration', 'kip', '-o', 'name']),
    { timeoutMs: PATIENCE_MS, signal },
  )

  screen.title(
    'Workloads: a Deployment, a StatefulSet at zero, a CronJob, a pod with an init container',
  )
  const { objects, expected, ignored } = workloads(origin.host)
  const states = await watchImages(cluster, {
    ...{ expected, nodes, screen, signal },
    begin: () => apply(cluster, objects),
  })

  screen.title(`${expected[0]} is deleted from its origin, and an empty third node comes`)
  const [repository, tag] = nameAndTag(expected[0] ?? '')
  await origin.deleteImage(repository, tag)
  const node = await cluster.addNode()
  report(
    `${node.name} is Ready and holds ${(await cluster.imagesOn(node.name)).length} image: the pause image`,
  )
  const mark = await backup.accessLogEnd()
  const started = performance.now()
  await apply(cluster, [survivor(expected[0] ?? '', node.name)])
  await cluster.kubectl(
    [
      'wait',
      '-n',
      namespace,
      '--for=condition=Ready',
      'pod/survivor',
      `--timeout=${PATIENCE_MS / 1000}s`,
    ],
    { timeoutMs: PATIENCE_MS + 10_000, signal },
  )
  const running = ((performance.now() - started) / 1000).toFixed(1)
  const image = await cluster.kubectl([
    ...['get', 'pod', '-n', namespace, 'survivor', '-o', 'jsonpath={.spec.containers[0].image}'],
  ])
  report(`a pod of it on ${node.name} runs after ${running} s, from`)
  report(`  ${image}`)
  const pulled = (await backup.accessLog(mark)).filter(
    ({ method, path, remoteAddress }) =>
      method === 'GET' && path.includes('/blobs/') && remoteAddress === node.address,
  )

  screen.title('What was seen')
  const checks: readonly (readonly [string, boolean])[] = [
    [
      `${expected.length} images in use were found by themselves, and none of the flagged namespace`,
      states.every(({ reference }) => reference !== ignored),
    ],
    [
      'every copy has the digest of its source',
      states.every(({ source, mirrors }) => mirrors[0]?.digest === source?.digest),
    ],
    [
      `containerd on ${nodes.join(' and ')} lists every image, of workloads that never ran too`,
      await holdAll(cluster, nodes, states),
    ],
    [
      'the origin no longer has the deleted image',
      (await origin.digest(repository, tag)) === undefined,
    ],
    [
      `${node.name} took its bytes from the backup`,
      pulled.length > 0 && image.startsWith(backup.host),
    ],
  ]
  for (const [text, seen] of checks) screen.line(`  ${seen ? '✓' : '✗'} ${text}`)
  screen.line(`\n${await cluster.kubectl(['get', 'cachedimages'])}`.trimEnd())
  if (!checks.every(([, seen]) => seen)) throw new Error('the demo did not show what it should')
}

interface Watched {
  readonly expected: readonly string[]
  readonly nodes: readonly string[]
  readonly screen: Screen
  readonly signal: AbortSignal
  /** Applies the workloads: times count from here. */
  readonly begin: () => Promise<void>
}

/** Shows each image on its way until all have arrived everywhere; gives what kip knows of them then. */
async function watchImages(
  cluster: Cluster,
  { expected, nodes, screen, signal, begin }: Watched,
): Promise<readonly ImageState[]> {
  const ended = new AbortController()
  const client = await connectCluster({ kubeconfig: cluster.kubeconfig })
  const quiet = { debug() {}, info() {}, warn() {}, error() {} }
  const store = createClusterStore({
    client,
    log: quiet,
    metrics: createMetrics({ processMetrics: false }),
  })
  const watching = store.run(ended.signal)
  await store.synced
  const began = performance.now()
  const now = () => (performance.now() - began) / 1000
  const timeline = new Timeline((event) => screen.reached(event))
  const note = (reference: string) => {
    const image = store.get(reference)
    if (!image || !expected.includes(reference)) return
    if (isWanted(image)) timeline.reach(reference, 'found', now())
    if (image.mirrors.some(({ state }) => state === 'Verified'))
      timeline.reach(reference, 'mirrored', now())
  }
  store.onChange(note)
  try {
    await begin()
    return await eventually(
      'image on every node',
      async () => {
        for (const node of nodes) {
          const held = await cluster.imagesOn(node)
          for (const reference of expected) {
            const copy = copyOf(store.get(reference))
            if (copy && held.some((name) => isCopy(name, copy)))
              timeline.reach(reference, node, now())
          }
        }
        screen.draw(timeline.steps(), nodes)
        if (!timeline.complete(expected, nodes)) return undefined
        screen.settle(timeline.steps(), nodes)
        return [...store.list()].filter(isWanted)
      },
      { timeoutMs: PATIENCE_MS, everyMs: 250, signal },
    )
  } finally {
    ended.abort()
    await watching
    await client.close()
  }
}

async function holdAll(
  cluster: Cluster,
  nodes: readonly string[],
  states: readonly ImageState[],
): Promise<boolean> {
  for (const node of nodes) {
    const held = await cluster.imagesOn(node)
    for (const state of states) {
      const copy = copyOf(state)
      if (!copy || !held.some((name) => isCopy(name, copy))) return false
    }
  }
  return true
}

/** Repository of an image's verified copy and its digest: how containerd names what was asked for by tag and digest. */
function copyOf(image: ImageState | undefined): string | undefined {
  const mirror = image?.mirrors[0]
  if (!mirror?.digest) return undefined
  return `${mirror.reference.replace(/:[^:/]+$/, '')}@${mirror.digest}`
}

function isCopy(name: string, copy: string): boolean {
  const [repository = '', digest = ''] = copy.split('@')
  return name === copy || (name.startsWith(repository) && name.endsWith(digest))
}

function nameAndTag(reference: string): [string, string] {
  const [, repository = '', tag = ''] = /^[^/]+\/(.+):([^:]+)$/.exec(reference) ?? []
  return [repository, tag]
}

async function apply(cluster: Cluster, objects: readonly object[]): Promise<void> {
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects })
  await cluster.kubectl(['apply', '-f', '-'], { input })
}

function howToLookAround(): void {
  screen.title('The cluster stays. To look around:')
  for (const line of [
    `npm run cluster -- kubectl --name ${NAME} get cachedimages -o wide`,
    `npm run cluster -- kubectl --name ${NAME} get pods -A`,
    `npm run cluster -- kubectl --name ${NAME} -n k8s-image-puller logs deploy/kubernetes-image-puller`,
    `npm run cluster -- down --name ${NAME}`,
  ])
    screen.line(`  ${line}`)
}
