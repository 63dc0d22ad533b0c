import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ApiClient } from '../api.ts'
import { runCommand } from '../command.ts'
import { HOLDER } from '../control-plane/control-plane.ts'
import { kubeconfig } from '../kubeconfig.ts'
import { enterNamespaces, holderReady, namespaceHolder } from '../namespaces.ts'
import { connectNode } from '../network.ts'
import type { Authority } from '../pki.ts'
import type { NodePlan } from '../plan.ts'
import type { DaemonSpec, Daemons } from '../process.ts'
import { hostsFile, hostsToml, registryHosts } from '../registry-hosts.ts'
import type { ClusterState } from '../state.ts'
import { together } from '../together.ts'
import { nodeCgroup } from './cgroups.ts'
import { cniConfig, containerdConfig, kubeletConfig, NODE_FILES } from './configuration.ts'
import { prepareDisk } from './disk.ts'

const NAMESPACES = ['net', 'mount', 'pid', 'uts'] as const
/** On two busy cores; idle ones take 2 s. */
const READY_TIMEOUT_MS = 90_000

export interface NodeOptions {
  readonly state: ClusterState
  readonly node: NodePlan
  /** The cluster's folder. */
  readonly folder: string
  readonly daemons: Daemons
  readonly authority: Authority
  readonly api: ApiClient
  /** Archive of the pause image. */
  readonly pause: string
  readonly signal?: AbortSignal
}

/** Names of a node's daemons; the holder is the node's init, and takes all others with it. */
export function nodeDaemons(node: string) {
  return {
    holder: `node-${node}`,
    containerd: `containerd-${node}`,
    kubelet: `kubelet-${node}`,
    proxy: `kube-proxy-${node}`,
  } as const
}

/** Starts a node, or starts again one that was killed; returns when the API server calls it Ready. */
export async function startNode(options: NodeOptions): Promise<void> {
  const { state, node, folder, daemons, signal } = options
  const names = nodeDaemons(node.name)
  const place = join(folder, 'nodes', node.name)
  await writeFiles(options, place)
  await prepareDisk(place, node.settings?.diskMib, signal ? { signal } : {})
  const sleep = join(state.programs.sleep, 'sleep')
  const { pid } = await daemons.start(namespaceHolder({ name: names.holder, kind: 'node', sleep }))
  await holderReady(pid, signal)
  const controlPlane = daemons.identity(HOLDER)
  if (!controlPlane) throw daemons.failure(HOLDER, 'is not running')
  const quiet = signal ? { signal } : {}
  await together(signal, [
    (signal) => connectNode(controlPlane.pid, pid, node, state.addresses, { signal }),
    (signal) => makeSurroundings(pid, node, state, place, { signal }),
  ])
  await daemons.start(containerdSpec(options, pid))
  await daemons.waitUntil({
    what: 'containerd that answers',
    needs: [names.containerd],
    check: async () => {
      await ctr(options, pid, ['version'])
      return true
    },
    timeoutMs: READY_TIMEOUT_MS,
    ...quiet,
  })
  await ctr(options, pid, ['images', 'import', '--base-name', 'kip.test/pause', options.pause])
  const before = await lastHeartbeat(options)
  await together(signal, [
    () => daemons.start(kubeletSpec(options, pid)),
    () => daemons.start(proxySpec(options, pid)),
  ])
  await nodeReady(options, before)
}

/** Starts the kubelet of a running node again; returns when the node is Ready by its word. */
export async function startKubelet(options: NodeOptions): Promise<void> {
  const { daemons, node } = options
  const holder = daemons.identity(nodeDaemons(node.name).holder)
  if (!holder) throw daemons.failure(nodeDaemons(node.name).holder, 'is not running')
  const before = await lastHeartbeat(options)
  await daemons.start(kubeletSpec(options, holder.pid))
  await nodeReady(options, before)
}

/** Start of a command line that runs the rest on the node. */
export function enterNode(daemons: Daemons, node: string): readonly string[] {
  const { holder } = nodeDaemons(node)
  const identity = daemons.identity(holder)
  if (!identity) throw daemons.failure(holder, 'is not running')
  return enterNamespaces(identity.pid, NAMESPACES)
}

interface NodeObject {
  readonly spec?: {
    readonly taints?: readonly { readonly key: string; readonly effect: string }[]
  }
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string
      readonly status: string
      readonly lastHeartbeatTime: string
    }[]
  }
}

/**
 * Waits until a node takes pods.
 *
 * @param before - from {@link lastHeartbeat}, before the kubelet was started: what its predecessor said counts no more
 */
async function nodeReady(options: NodeOptions, before: string | undefined): Promise<void> {
  const { api, daemons, node, signal } = options
  const names = nodeDaemons(node.name)
  await daemons.waitUntil({
    what: `Ready node ${node.name}`,
    needs: [names.kubelet, names.containerd, names.proxy],
    check: async () => {
      const found = await api.get<NodeObject>(nodePath(node), signal ? { signal } : {})
      const ready = readiness(found)
      // The taint that evicts goes some seconds later, and new pods tolerate it.
      const tainted = found.spec?.taints?.some(
        ({ key, effect }) => key === 'node.kubernetes.io/not-ready' && effect === 'NoSchedule',
      )
      return ready?.status === 'True' && ready.lastHeartbeatTime !== before && !tainted
    },
    timeoutMs: READY_TIMEOUT_MS,
    ...(signal && { signal }),
  })
}

/** When a kubelet last spoke for the node; undefined for a new one. */
async function lastHeartbeat({ api, node, signal }: NodeOptions): Promise<string | undefined> {
  const { status, body } = await api.send('GET', nodePath(node), signal ? { signal } : {})
  return status === 200 ? readiness(JSON.parse(body))?.lastHeartbeatTime : undefined
}

function readiness({ status }: NodeObject) {
  return status?.conditions?.find(({ type }) => type === 'Ready')
}

function nodePath({ name }: NodePlan): string {
  return `/api/v1/nodes/${name}`
}

async function writeFiles(options: NodeOptions, place: string): Promise<void> {
  const { state, node, authority } = options
  const { addresses } = state
  const files: Record<string, string> = {
    [NODE_FILES.hosts]: hostsFile(addresses, new Map([[node.name, node.address]])),
    [NODE_FILES.containerd]: containerdConfig(place, node.settings?.downloads),
    [`${NODE_FILES.cni}/10-kip.conflist`]: cniConfig(node),
    [NODE_FILES.kubelet]: kubeletConfig({
      addresses,
      authorityFile: authority.certificateFile,
      cgroup: `/${nodeCgroup(state.id, node.name)}`,
      ...(node.settings?.kubelet && { settings: node.settings.kubelet }),
    }),
  }
  for (const registry of registryHosts(addresses))
    files[`${NODE_FILES.registries}/${registry.host}/hosts.toml`] = hostsToml(
      registry,
      authority.certificateFile,
    )
  const users = {
    [NODE_FILES.kubeletKubeconfig]: {
      commonName: `system:node:${node.name}`,
      organization: 'system:nodes',
    },
    [NODE_FILES.proxyKubeconfig]: { commonName: 'system:kube-proxy' },
  }
  for (const [file, request] of Object.entries(users)) {
    if (existsSync(join(place, file))) continue
    files[file] = kubeconfig({
      cluster: `kip-${state.name}`,
      server: `https://${addresses.controlPlane}:${state.ports.api}`,
      authority: authority.certificate,
      identity: await authority.issue(request),
    })
  }
  for (const [file, content] of Object.entries(files)) {
    await mkdir(dirname(join(place, file)), { recursive: true })
    await writeFile(join(place, file), content, { mode: 0o600 })
  }
}

async function makeSurroundings(
  pid: number,
  node: NodePlan,
  state: ClusterState,
  place: string,
  options: { readonly signal?: AbortSignal },
): Promise<void> {
  const script = fileURLToPath(new URL('surroundings.sh', import.meta.url))
  const [enter, ...args] = enterNamespaces(pid, ['mount', 'uts'])
  const cgroup = `/${nodeCgroup(state.id, node.name)}`
  const visible = [join(place, '../..'), state.programs.kubernetes, state.programs.containerd]
  const surroundings = [script, node.name, place, cgroup, ...visible]
  await runCommand(enter, [...args, 'sh', ...surroundings], options)
}

function fileOf({ folder, node }: NodeOptions, name: keyof typeof NODE_FILES): string {
  return join(folder, 'nodes', node.name, NODE_FILES[name])
}

function containerdSpec(options: NodeOptions, pid: number): DaemonSpec {
  const program = join(options.state.programs.containerd, 'containerd')
  return onNode(options, pid, nodeDaemons(options.node.name).containerd, [
    program,
    `--config=${fileOf(options, 'containerd')}`,
  ])
}

function kubeletSpec(options: NodeOptions, pid: number): DaemonSpec {
  const { state, node } = options
  return onNode(options, pid, nodeDaemons(node.name).kubelet, [
    join(state.programs.kubernetes, 'kubelet'),
    `--config=${fileOf(options, 'kubelet')}`,
    `--kubeconfig=${fileOf(options, 'kubeletKubeconfig')}`,
    `--hostname-override=${node.name}`,
    `--node-ip=${node.address}`,
    '--cert-dir=/var/lib/kubelet/pki',
    '--v=2',
  ])
}

function proxySpec(options: NodeOptions, pid: number): DaemonSpec {
  const { state, node } = options
  return onNode(options, pid, nodeDaemons(node.name).proxy, [
    join(state.programs.kubernetes, 'kube-proxy'),
    `--kubeconfig=${fileOf(options, 'proxyKubeconfig')}`,
    `--hostname-override=${node.name}`,
    '--proxy-mode=iptables',
    // The limits of connection tracking are the machine's, not this namespace's.
    '--conntrack-max-per-core=0',
    '--metrics-bind-address=127.0.0.1:10249',
  ])
}

/** A daemon in the node's namespaces and in its cgroup for system processes. */
function onNode(
  { state, node }: NodeOptions,
  pid: number,
  name: string,
  command: readonly string[],
): DaemonSpec {
  const group = `${nodeCgroup(state.id, node.name)}/system`
  const join = `for group in /sys/fs/cgroup/${group} /sys/fs/cgroup/*/${group}; do [ -d "$group" ] && echo 0 > "$group/cgroup.procs"; done; exec "$@"`
  const [enter, ...args] = enterNamespaces(pid, NAMESPACES)
  return {
    name,
    command: [enter, ...args, '/bin/sh', '-c', join, name, ...command],
    // containerd looks for its shim in PATH; the machine's own containerd may have another.
    env: { PATH: `${state.programs.containerd}:/usr/sbin:/usr/bin:/sbin:/bin` },
    forks: true,
  }
}

async function ctr(options: NodeOptions, pid: number, args: readonly string[]): Promise<string> {
  const [enter, ...rest] = enterNamespaces(pid, NAMESPACES)
  const program = join(options.state.programs.containerd, 'ctr')
  return await runCommand(enter, [...rest, program, '-n', 'k8s.io', ...args], {
    timeoutMs: 30_000,
    ...(options.signal && { signal: options.signal }),
  })
}
