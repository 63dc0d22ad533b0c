import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { loadSettings } from '../../../src/config/load.ts'
import { applyObject, createObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { Reflector } from '../../../src/kube/reflector.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { DaemonSet, KubeObject } from '../../../src/kube/types.ts'
import { fieldManager } from '../../../src/puller/writer.ts'
import { type Cluster, eventually } from '../../cluster/index.ts'
import { freePorts } from '../../cluster/ports.ts'
import { clusterBed } from '../../support/cluster-bed.ts'
import { silentLog } from '../../support/silent-log.ts'
import type { BenchOptions } from '../bench.ts'
import { benchCluster } from '../harness/cluster.ts'
import { ContenderError } from '../harness/measure.ts'
import { installedProgram } from '../peers/build.ts'
import { type Etcd, etcdAt } from './etcd.ts'
import { nodeName, nodeObject, playNodes } from './fake-nodes.ts'
import { playScheduler } from './fake-scheduler.ts'
import { holdingShards } from './holding-shards.ts'

/** A cluster of fake nodes that hold all images. */
export interface ScaleWorld extends AsyncDisposable {
  readonly cluster: Cluster
  readonly client: KubeClient
  readonly etcd: Etcd
  readonly nodes: number
  readonly images: readonly string[]
  /** Bytes that etcd holds for each image and node. */
  readonly storedBytes: number
  /** As the API server last told of them. */
  daemonSets(): readonly DaemonSet[]
  /** Starts kip outside the cluster. */
  startKip(): Promise<KipProcess>
}

export interface KipProcess extends AsyncDisposable {
  readonly pid: number
}

const nodes = 1000
/** Two thousand with those that are asked for later. */
const images = Array.from(
  { length: 1980 },
  (_, index) => `registry.example.test/platform/team-${index % 40}/service-${index}:1.24.${index}`,
)
const namespace = 'scale'
const daemonSetPath = { group: 'apps', version: 'v1', plural: 'daemonsets', namespace }
const environment = {
  NAMESPACE: namespace,
  DAEMONSET_NAME: 'kip',
  DEPLOYMENT_NAME: '',
  KIP_IMAGE: 'registry.example.test/kip/sleep:1',
  KIP_PULLER_PODS_PER_NODE: '16',
  KIP_PULLER_DISK_PERCENT: '100',
  IMAGES: images.map((image, index) => `i${index}=${image}`).join(';'),
}
const readingMs = 30_000
/** Twelve pods of each of a thousand nodes are written in minutes, not in seconds. */
const patienceMs = 900_000

/**
 * Brings up a control plane whose etcd has its default quota, and nodes that kwok plays. The pods of the first node come there
 * the real way; those of the others are copies in etcd, since making them would take this machine an hour.
 */
export async function createScaleWorld({ report, signal }: BenchOptions): Promise<ScaleWorld> {
  const kwok = await installedProgram('kwok', 'kwok', { report, signal })
  await using cleanup = new AsyncDisposableStack()
  // Three programs of Go's keep all pods, of which the API server several times; by default each takes twice what it keeps.
  const controlPlaneEnvironment = { GOMEMLIMIT: '11GiB' }
  // 0: the default, 2 GiB.
  const etcdArguments = ['--quota-backend-bytes=0']
  // One program plays a thousand kubelets and comes late: no node is lost for that, and none of its pods is written anew.
  const controllerManagerArguments = [
    '--node-monitor-grace-period=1h',
    // It takes away pods whose node is not there yet.
    '--controllers=*,-pod-garbage-collector-controller',
  ]
  const { cluster } = cleanup.use(
    await benchCluster({
      ...{ nodes: 0, place: 'disk', controlPlaneEnvironment },
      ...{ etcdArguments, controllerManagerArguments, report, signal },
    }),
  )
  const { client, close } = await clusterBed(cluster)
  cleanup.defer(close)
  const etcd = etcdAt(cluster.state.ports.etcd, signal)
  await cluster.daemons.stop('kube-scheduler')
  cleanup.use(playScheduler(client, namespace))
  cleanup.use(await playNodes(cluster, kwok.file))
  const namespaces = { group: '', version: 'v1', plural: 'namespaces' }
  const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }
  await createObject(client, namespaces, object, { signal })

  const { settings } = loadSettings({ argv: [], env: environment, readFile: () => '' })
  const watch = watchDaemonSets(client)
  cleanup.use(watch)
  const { daemonSets } = watch
  // The controller counts nodes anew for those that lack a pod, and here none does.
  const countAnew = async (name: string): Promise<void> => {
    const annotations = { 'bench.test/counted': new Date().toISOString() }
    await client.request({
      method: 'PATCH',
      path: resourcePath(daemonSetPath, name),
      contentType: 'application/merge-patch+json',
      body: { metadata: { annotations } },
      signal,
    })
  }
  const everywhere = async (count: number): Promise<boolean> => {
    const all = daemonSets()
    report(`ready pods: ${all.map(({ status }) => status?.numberReady ?? 0).join(' ')}`)
    const lagging = all.filter(
      ({ status }) => status?.numberReady !== count || status.desiredNumberScheduled !== count,
    )
    for (const { metadata } of lagging) await countAnew(metadata?.name ?? '')
    return lagging.length === 0
  }
  const waitEverywhere = (count: number): Promise<unknown> =>
    eventually(`ready pods on ${count} nodes`, () => everywhere(count), {
      ...{ timeoutMs: patienceMs, everyMs: 2000, signal },
    })

  await addNode(client, 0, signal)
  for (const one of holdingShards(settings, nodes)) {
    await applyObject(client, daemonSetPath, one, { fieldManager, force: true, signal })
  }
  await waitEverywhere(1)
  const first = await etcd.below(`/registry/pods/${namespace}/`)
  const storedBytes = first.reduce((sum, [, { length }]) => sum + length, 0) / images.length
  report(`etcd holds ${storedBytes.toFixed(0)} bytes an image and node`)
  const others = Array.from({ length: nodes - 1 }, (_, index) => index + 1)
  await several(others, async (index) => {
    for (const one of first) await etcd.put(...copyTo(one, index))
  })
  report('pods of all nodes are stored')
  // Who watches pods has 800 MB to read; a controller that knows of a node before it knows of its pods makes others.
  await delay(readingMs, undefined, { signal })
  await several(others, (index) => addNode(client, index, signal))
  await waitEverywhere(nodes)
  const disposal = cleanup.move()
  return {
    ...{ cluster, client, etcd, nodes, images, storedBytes, daemonSets },
    startKip: () => startKip(cluster, signal),
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  }
}

/** Watched rather than asked for again and again: a list of them is a megabyte, which the API server would be busy with. */
function watchDaemonSets(
  client: KubeClient,
): AsyncDisposable & { readonly daemonSets: () => readonly DaemonSet[] } {
  const controller = new AbortController()
  const known = new Map<string, DaemonSet>()
  const watch = new Reflector<DaemonSet>({
    ...{ client, resource: daemonSetPath, log: silentLog() },
    project: (raw) => raw as DaemonSet,
    onEvent: ({ type, value }) => {
      const name = value.metadata?.name ?? ''
      if (type === 'deleted') known.delete(name)
      else known.set(name, value)
    },
  })
  const ended = watch.run(controller.signal)
  return {
    daemonSets: () => [...known.values()],
    async [Symbol.asyncDispose]() {
      controller.abort()
      await ended
    },
  }
}

/** Does the work for all items, some at the same time. */
async function several<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items]
  const worker = async (): Promise<void> => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: 4 }, worker))
}

async function addNode(client: KubeClient, index: number, signal: AbortSignal): Promise<void> {
  await createObject<KubeObject>(
    client,
    { group: '', version: 'v1', plural: 'nodes' },
    nodeObject(index),
    { signal },
  )
}

/** A pod of the first node as it would be on another: all that differs has the length that it had. */
function copyTo([key, value]: readonly [string, Buffer], node: number): readonly [string, Buffer] {
  const name = key.slice(key.lastIndexOf('/') + 1)
  const copy = `${name.slice(0, -5)}${String(node).padStart(5, '0')}`
  // The text of a protobuf message is UTF-8, and every byte is a character of latin1.
  const message = value.toString('latin1')
  const uid = new RegExp(`${name}.*?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})`, 's').exec(
    message,
  )?.[1]
  if (uid === undefined) throw new ContenderError(`${key}: a pod without uid`)
  const text = message
    .replaceAll(name, copy)
    .replaceAll(uid, randomUUID())
    .replaceAll(nodeName(0), nodeName(node))
  return [key.replace(name, copy), Buffer.from(text, 'latin1')]
}

const program = fileURLToPath(new URL('../../../src/main.ts', import.meta.url))

async function startKip(cluster: Cluster, signal: AbortSignal): Promise<KipProcess> {
  const [port = 0] = await freePorts(1)
  const args = [
    ...['--disable-warning=ExperimentalWarning', program, 'run'],
    ...[`--kubeconfig=${cluster.kubeconfig}`, `--port=${port}`, '--log.level=warn'],
    '--admission.enabled=false',
  ]
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', process.execPath, ...args], {
    env: { PATH: process.env.PATH, ...environment },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said = text(child.stderr)
  const exited = once(child, 'exit')
  const end = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
  }
  signal.addEventListener('abort', () => child.kill('SIGKILL'), { once: true })
  void exited.then(async () => {
    if (child.exitCode !== null) process.stderr.write((await said).slice(-2000))
  })
  return { pid: child.pid ?? 0, [Symbol.asyncDispose]: end }
}
