import { fork } from 'node:child_process'
import { createPublicKey } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ApiClient } from '../api.ts'
import { runCommand } from '../command.ts'
import { clusterDomains } from '../dns.ts'
import { kubeconfig } from '../kubeconfig.ts'
import { enterNamespaces, holderReady, namespaceHolder } from '../namespaces.ts'
import { setUpControlPlaneNetwork } from '../network.ts'
import { type Authority, type Identity, newPrivateKey } from '../pki.ts'
import { kubernetesServiceAddress } from '../plan.ts'
import type { Daemons } from '../process.ts'
import { hostsFile } from '../registry-hosts.ts'
import type { ClusterState } from '../state.ts'
import { together } from '../together.ts'
import {
  apiServerArguments,
  type ControlPlaneFiles,
  controllerManagerArguments,
  controlPlaneFiles,
  etcdArguments,
  schedulerArguments,
} from './arguments.ts'

/** Daemon that keeps the control plane's namespaces. */
export const HOLDER = 'control-plane'
/** On two busy cores; idle ones take 3 s. */
const START_TIMEOUT_MS = 120_000

export interface ControlPlaneOptions {
  readonly state: ClusterState
  /** The cluster's folder. */
  readonly folder: string
  readonly daemons: Daemons
  readonly authority: Authority
  readonly signal?: AbortSignal
}

/** Makes the control plane's namespaces and its network; nothing to do for one on the machine's loopback. */
export async function makeControlPlaneNetwork(options: ControlPlaneOptions): Promise<void> {
  const { state, folder, daemons, signal } = options
  if (state.addresses.level !== 'nodes') return
  const sleep = join(state.programs.sleep, 'sleep')
  const { pid } = await daemons.start(
    namespaceHolder({ name: HOLDER, kind: 'control-plane', sleep }),
  )
  await holderReady(pid, signal)
  await setUpControlPlaneNetwork(pid, state.addresses, state.ports.api, signal ? { signal } : {})
  const { hosts } = controlPlaneFiles(folder)
  await writeFile(hosts, hostsFile(state.addresses))
  const [enter, ...args] = enterNamespaces(pid, ['mount'])
  await runCommand(
    enter,
    [...args, 'mount', '--bind', hosts, '/etc/hosts'],
    signal ? { signal } : {},
  )
}

/** Start of a command line that runs the rest where the control plane is; empty on the machine's loopback. */
export function enterControlPlane(
  daemons: Daemons,
  state: Pick<ClusterState, 'addresses'>,
  folder?: string,
): readonly string[] {
  const holder = daemons.identity(HOLDER)
  if (state.addresses.level !== 'nodes' || !holder) return []
  return enterNamespaces(holder.pid, ['net', 'mount'], folder === undefined ? {} : { folder })
}

/** Starts etcd, the API server, controller manager and scheduler; returns when the cluster takes pods. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<void> {
  const { state, folder, authority, signal } = options
  const files = controlPlaneFiles(folder)
  await writeIdentities(state, files, authority)
  await mkdir(files.etcd, { recursive: true, mode: 0o700 })
  const start = (part: Part) => () => startPart(options, part)
  await together(signal, [start('etcd'), start('kube-apiserver')])
  if (state.addresses.level === 'nodes') {
    await together(signal, [() => startRelay(options), () => startNameServer(options)])
  }
  await answers(options, '/readyz', 'ready API server', ['kube-apiserver', 'etcd'])
  // Before the API server answers they would end and come back only by a start of their own.
  await together(signal, [start('kube-controller-manager'), start('kube-scheduler')])
  await answers(
    options,
    '/api/v1/namespaces/default/serviceaccounts/default',
    'default service account, without which no pod is taken',
    ['kube-controller-manager', 'kube-apiserver', 'kube-scheduler'],
  )
}

/** Starts the API server again after it was stopped, and waits until it is ready. */
export async function restartApiServer(options: ControlPlaneOptions): Promise<void> {
  await startPart(options, 'kube-apiserver')
  await answers(options, '/readyz', 'ready API server', ['kube-apiserver', 'etcd'])
}

type Part = keyof typeof partArguments

const partArguments = {
  etcd: etcdArguments,
  'kube-apiserver': apiServerArguments,
  'kube-controller-manager': controllerManagerArguments,
  'kube-scheduler': (_state: ClusterState, files: ControlPlaneFiles) => schedulerArguments(files),
}

async function startPart({ state, folder, daemons }: ControlPlaneOptions, name: Part) {
  const args = partArguments[name](state, controlPlaneFiles(folder))
  const program = join(state.programs.kubernetes, name)
  const [first = '', ...rest] = [...enterControlPlane(daemons, state), program, ...args]
  const env = state.controlPlaneEnvironment ?? {}
  await daemons.start({ name, command: [first, ...rest], env })
}

/** Waits until the API server answers 200 at a path. */
async function answers(
  options: ControlPlaneOptions,
  path: string,
  what: string,
  needs: readonly [string, ...string[]],
): Promise<void> {
  const { daemons, signal } = options
  const quiet = signal ? { signal } : {}
  const api = await adminClient(options)
  try {
    await daemons.waitUntil({
      what,
      needs,
      check: () => api.answers(path, quiet),
      timeoutMs: START_TIMEOUT_MS,
      ...quiet,
    })
  } finally {
    api.close()
  }
}

/** A client that may do everything, through the machine's loopback. */
export async function adminClient({ state, authority }: ControlPlaneOptions): Promise<ApiClient> {
  return new ApiClient({
    host: '127.0.0.1',
    port: state.ports.api,
    authority: authority.certificate,
    identity: await authority.issue({
      commonName: 'kip-test-tool',
      organization: 'system:masters',
    }),
  })
}

async function writeIdentities(
  state: ClusterState,
  files: ControlPlaneFiles,
  authority: Authority,
): Promise<void> {
  if (existsSync(files.adminKubeconfig)) return
  const { controlPlane } = state.addresses
  const apiServer = await authority.issue({
    commonName: 'kube-apiserver',
    hosts: [
      ...new Set(['127.0.0.1', controlPlane, kubernetesServiceAddress(state.addresses)]),
      'localhost',
      ...['kubernetes', 'kubernetes.default', 'kubernetes.default.svc'],
      'kubernetes.default.svc.cluster.local',
    ],
  })
  const masters = 'system:masters'
  const kubelet = await authority.issue({ commonName: 'kubelet-client', organization: masters })
  await writeIdentity(files.pki, 'apiserver', apiServer)
  await writeIdentity(files.pki, 'kubelet-client', kubelet)
  const key = await newPrivateKey()
  await writeSecret(join(files.pki, 'service-account.key'), key)
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'pem' })
  await writeFile(join(files.pki, 'service-account.pub'), publicKey)
  const users = [
    [files.controllerManagerKubeconfig, { commonName: 'system:kube-controller-manager' }],
    [files.schedulerKubeconfig, { commonName: 'system:kube-scheduler' }],
    [files.adminKubeconfig, { commonName: 'admin', organization: masters }],
  ] as const
  for (const [file, request] of users) {
    const config = kubeconfig({
      cluster: `kip-${state.name}`,
      server: `https://127.0.0.1:${state.ports.api}`,
      authority: authority.certificate,
      identity: await authority.issue(request),
    })
    await writeSecret(file, config)
  }
}

async function writeIdentity(folder: string, name: string, identity: Identity): Promise<void> {
  await writeFile(join(folder, `${name}.crt`), identity.certificate)
  await writeSecret(join(folder, `${name}.key`), identity.key)
}

async function writeSecret(file: string, text: string): Promise<void> {
  await writeFile(file, text, { mode: 0o600 })
}

async function startNameServer({ state, daemons }: ControlPlaneOptions): Promise<void> {
  const { addresses } = state
  const program = fileURLToPath(new URL('name-server.ts', import.meta.url))
  const names = [...clusterDomains(addresses)].map((pair) => pair.join('='))
  const command = [process.execPath, program, addresses.controlPlane, ...names]
  const [first = '', ...rest] = [...enterControlPlane(daemons, state), ...command]
  await daemons.start({ name: 'name-server', command: [first, ...rest] })
}

/** The API server of a namespace, on the machine's loopback too. */
async function startRelay({ state, daemons }: ControlPlaneOptions): Promise<void> {
  const name = 'relay'
  if (daemons.isRunning(name)) return
  const server = createServer({ pauseOnConnect: true })
  server.listen(state.ports.api, '127.0.0.1')
  await once(server, 'listening')
  const holder = daemons.identity(HOLDER)
  if (!holder) throw daemons.failure(HOLDER, 'is not running')
  const [enter, ...args] = enterNamespaces(holder.pid, ['net'])
  const relay = fileURLToPath(new URL('relay.ts', import.meta.url))
  // nsenter becomes the program, so the channel and the pid are the relay's own.
  const child = fork(relay, ['127.0.0.1', `${state.ports.api}`], {
    execPath: enter,
    execArgv: [...args, process.execPath, '--disable-warning=ExperimentalWarning'],
    detached: true,
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  })
  await once(child, 'spawn')
  daemons.adopt(name, child.pid ?? 0)
  child.send('listen', server)
  const [answer] = await Promise.race([once(child, 'message'), once(child, 'exit')])
  server.close()
  if (answer !== 'listening') throw daemons.failure(name, 'ended at once')
  child.unref()
  child.channel?.unref()
}
