import { readFileSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { createObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { HttpKubeClient } from '../../../src/kube/http-client.ts'
import { benchCluster } from '../harness/cluster.ts'
import type { BuildOptions } from '../peers/build.ts'
import { benchPod, namespaceNames, runningStatus, WORKLOADS } from './pods.ts'
import type { Target } from './world.ts'

/** Pods that the server is given, the first of them with a status. */
export const REAL_PODS = 30_000
const crd = fileURLToPath(new URL('../../../deploy/manifests/crd.yaml', import.meta.url))
/** Writes at a time; more only wait for the API server. */
const WRITERS = 24

export interface RealServer extends AsyncDisposable, Target {
  readonly version: string
  /** File with a list of pods that run, one of each workload, as the server answers in protobuf. */
  readonly capturedPods: string
  /** Fills the server up to {@link REAL_PODS}. */
  fill(signal: AbortSignal): Promise<void>
  /** Installs kip's resource, and makes a namespace with an account of the same name that may do all; gives its token. */
  serviceAccount(name: string, signal: AbortSignal): Promise<string>
  /** Changes so many pods a second for so long, or as many as it takes in that time. */
  change(perSecond: number, seconds: number, signal: AbortSignal): Promise<void>
}

/** Brings a control plane up, on a disk in memory where there is one, and makes pods that nobody runs. */
export async function startRealServer(
  folder: string,
  { report, signal = new AbortController().signal }: BuildOptions,
): Promise<RealServer> {
  await using cleanup = new AsyncDisposableStack()
  const { cluster } = cleanup.use(await benchCluster({ nodes: 0, place: 'memory', report, signal }))
  // Pods on nodes that are not there are swept away by the one, and looked at by the other.
  for (const part of ['kube-controller-manager', 'kube-scheduler']) await cluster.daemons.stop(part)

  const trust = join(folder, 'real')
  await mkdir(trust)
  const [url, material] = accessOf(readFileSync(cluster.kubeconfig, 'utf8'))
  for (const [file, text] of Object.entries(material)) {
    await writeFile(join(trust, file), text, { mode: 0o600 })
  }
  const credentials = {
    headers: {},
    tls: { ca: material['ca.crt'], cert: material['tls.crt'], key: material['tls.key'] },
  }
  const client = new HttpKubeClient({
    access: { server: url, namespace: 'default', credentials: async () => credentials },
  })
  cleanup.defer(() => client.close())

  const namespaces = { group: '', version: 'v1', plural: 'namespaces' }
  for (const name of namespaceNames()) {
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name } }
    await createObject(client, namespaces, object, { signal })
    // Nobody makes it any more, and no pod is taken without it.
    const account = { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'default' } }
    const accounts = { group: '', version: 'v1', plural: 'serviceaccounts', namespace: name }
    await createObject(client, accounts, account, { signal })
  }
  report(`making ${WORKLOADS} pods that run`)
  await inParallel(WORKLOADS, async (number) => {
    const pod = benchPod(number)
    await client.request({ method: 'POST', path: pathOf(pod), body: pod, signal })
    await client.request({
      method: 'PATCH',
      path: `${pathOf(pod)}/${pod.metadata.name}/status`,
      contentType: 'application/merge-patch+json',
      body: { status: runningStatus(pod) },
      signal,
    })
  })
  const capturedPods = join(folder, 'pods.protobuf')
  const accept = 'application/vnd.kubernetes.protobuf'
  const { body } = await client.raw({ method: 'GET', path: '/api/v1/pods', accept, signal })
  await writeFile(capturedPods, body)
  const { body: json } = await client.raw({ method: 'GET', path: '/api/v1/pods', signal })
  const [asJson, asProtobuf] = [json, body].map(({ length }) => Math.round(length / WORKLOADS))
  report(`a pod that runs is ${asJson} bytes of JSON, ${asProtobuf} of protobuf`)

  let filled = false
  const disposal = cleanup.move()
  return {
    url,
    folder: trust,
    version: (await versionOf(client, signal)) ?? 'unknown',
    capturedPods,
    fill: async (signal) => {
      if (filled) return
      filled = true
      report(`making ${REAL_PODS} pods at a real API server`)
      await inParallel(REAL_PODS - WORKLOADS, async (number) => {
        const pod = benchPod(number + WORKLOADS)
        await client.request({ method: 'POST', path: pathOf(pod), body: pod, signal })
      })
    },
    serviceAccount: async (name, signal) => {
      const run = (args: readonly string[]) => cluster.kubectl([...args])
      await run(['apply', '--server-side', '-f', crd])
      signal.throwIfAborted()
      const { items } = JSON.parse(await run(['get', 'namespaces', '-o', 'json']))
      if (!items.some((one: { metadata: { name: string } }) => one.metadata.name === name)) {
        await run(['create', 'namespace', name])
        await run(['create', 'serviceaccount', name, '-n', name])
        const role = ['--clusterrole=cluster-admin', `--serviceaccount=${name}:${name}`]
        await run(['create', 'clusterrolebinding', name, ...role])
      }
      return (await run(['create', 'token', name, '-n', name])).trim()
    },
    change: async (perSecond, seconds, signal) => {
      const made = await change(client, perSecond, seconds, signal)
      report(`the server took ${Math.round(made / seconds)} changes a second`)
    },
    [Symbol.asyncDispose]: () => disposal.disposeAsync(),
  }
}

function accessOf(kubeconfig: string) {
  const { clusters, users } = JSON.parse(kubeconfig)
  const { server, 'certificate-authority-data': ca } = clusters[0].cluster
  const { 'client-certificate-data': cert, 'client-key-data': key } = users[0].user
  const text = (base64: string): string => Buffer.from(base64, 'base64').toString()
  const material = { 'ca.crt': text(ca), 'tls.crt': text(cert), 'tls.key': text(key) }
  return [String(server), material] as const
}

async function versionOf(client: KubeClient, signal: AbortSignal): Promise<string | undefined> {
  const { gitVersion } = await client.request<{ gitVersion?: string }>({
    ...{ method: 'GET', path: '/version', signal },
  })
  return gitVersion
}

function pathOf(pod: ReturnType<typeof benchPod>): string {
  return `/api/v1/namespaces/${pod.metadata.namespace}/pods`
}

/**
 * Gives pods an annotation, evenly over the time; what the server has not taken when it is over is left out, since on cores that it
 * shares with its clients it may take a third of what it is asked for.
 *
 * @returns how many it took
 */
async function change(
  client: KubeClient,
  perSecond: number,
  seconds: number,
  signal: AbortSignal,
): Promise<number> {
  const started = performance.now()
  const end = started + seconds * 1000
  let made = 0
  await inParallel(perSecond * seconds, async (number) => {
    const wait = started + (number / perSecond) * 1000 - performance.now()
    if (wait > 0) await sleep(wait, undefined, { signal })
    if (performance.now() >= end) return
    const pod = benchPod((number * 7919) % REAL_PODS)
    await client.request({
      method: 'PATCH',
      path: `${pathOf(pod)}/${pod.metadata.name}`,
      contentType: 'application/merge-patch+json',
      body: { metadata: { annotations: { change: `${started}-${number}` } } },
      signal,
    })
    made += 1
  })
  return made
}

async function inParallel(count: number, work: (number: number) => Promise<void>): Promise<void> {
  let next = 0
  const writer = async (): Promise<void> => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: WRITERS }, writer))
}
