import { mkdir, rm } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import type { ApiClient } from './api.ts'
import { type CommandOptions, runCommand } from './command.ts'
import { controlPlaneFiles } from './control-plane/arguments.ts'
import {
  adminClient,
  type ControlPlaneOptions,
  enterControlPlane,
  HOLDER,
  makeControlPlaneNetwork,
  restartApiServer,
  startControlPlane,
} from './control-plane/control-plane.ts'
import { type Cut, type CutKind, cutOff, restore } from './cut.ts'
import { ClusterError } from './errors.ts'
import { NODE_FILES } from './node/configuration.ts'
import { DISK_FOLDER, type DiskUse, parseDiskUse } from './node/disk.ts'
import { enterNode, nodeDaemons, startKubelet, startNode } from './node/node.ts'
import type { NodeSettings } from './node/settings.ts'
import { type Authority, openAuthority } from './pki.ts'
import { type NodePlan, nodePlan } from './plan.ts'
import { Daemons } from './process.ts'
import type { Report } from './progress.ts'
import { openRegistries, type Registries, startRegistries } from './registries.ts'
import type { RegistryName } from './registry-hosts.ts'
import { type ClusterState, clusterFolder, readState, updateState } from './state.ts'
import { together } from './together.ts'

export interface OpenOptions {
  readonly report: Report
  readonly signal?: AbortSignal
}

/**
 * A test cluster, and the levers that tests pull.
 *
 * Everything is known by the cluster's folder, so any number of processes may hold one at the same time. Closing it lets go
 * of connections; the cluster runs on until it is taken down.
 */
export class Cluster implements AsyncDisposable {
  readonly name: string
  readonly folder: string
  /** For the machine and for the control plane's namespace alike. */
  readonly kubeconfig: string
  /** PEM file of the authority that API server, registries and kubelets are under. */
  readonly authorityFile: string
  readonly registries: Registries
  readonly daemons: Daemons
  readonly #authority: Authority
  readonly #api: ApiClient
  readonly #pause: string
  readonly #options: OpenOptions
  #state: ClusterState

  private constructor(
    state: ClusterState,
    parts: {
      readonly daemons: Daemons
      readonly authority: Authority
      readonly api: ApiClient
      readonly registries: Registries
      readonly pause: string
    },
    options: OpenOptions,
  ) {
    this.#state = state
    this.name = state.name
    this.folder = clusterFolder(state.name)
    this.kubeconfig = controlPlaneFiles(this.folder).adminKubeconfig
    this.daemons = parts.daemons
    this.registries = parts.registries
    this.authorityFile = parts.authority.certificateFile
    this.#authority = parts.authority
    this.#api = parts.api
    this.#pause = parts.pause
    this.#options = options
  }

  /** Makes the namespaces and the network of a cluster that was planned, which {@link open} needs. */
  static async prepare(name: string, options: OpenOptions): Promise<void> {
    const state = planned(name)
    const folder = clusterFolder(name)
    const daemons = new Daemons({ folder })
    const authority = await openAuthority(controlPlaneFiles(folder).pki)
    const { signal } = options
    await makeControlPlaneNetwork({
      state,
      folder,
      daemons,
      authority,
      ...(signal && { signal }),
    })
  }

  /** Takes hold of a cluster whose namespaces are there. @throws ClusterError when there is none of that name */
  static async open(name: string, options: OpenOptions): Promise<Cluster> {
    const state = planned(name)
    const folder = clusterFolder(name)
    const daemons = new Daemons({ folder })
    const authority = await openAuthority(controlPlaneFiles(folder).pki)
    const api = await adminClient({ state, folder, daemons, authority })
    const holder = daemons.identity(HOLDER)
    const registries = await openRegistries({
      folder,
      addresses: state.addresses,
      authority,
      daemons,
      ...(holder && { holder: holder.pid, enter: enterControlPlane(daemons, state) }),
    })
    const pause = join(folder, 'pause.tar')
    return new Cluster(state, { daemons, authority, api, registries, pause }, options)
  }

  get state(): ClusterState {
    return this.#state
  }

  get nodes(): readonly NodePlan[] {
    return this.#state.nodes
  }

  /** Starts control plane, registries and nodes, as much as possible at the same time. */
  async start(): Promise<void> {
    const { signal, report } = this.#options
    await together(signal, [
      (signal) => startControlPlane({ ...this.#controlPlane, signal }),
      (signal) => this.#startRegistries({ report, signal }),
    ])
    await together(
      signal,
      this.nodes.map((node) => (signal) => startNode({ ...this.#node(node), signal })),
    )
  }

  /** For commands about this cluster: its kubeconfig, and its own kubectl first in the path. */
  get environment(): { readonly KUBECONFIG: string; readonly PATH: string } {
    const path = [this.#state.programs.kubernetes, process.env.PATH ?? '']
    return { KUBECONFIG: this.kubeconfig, PATH: path.join(delimiter) }
  }

  /** Runs the cluster's own kubectl as administrator. @returns what it printed */
  async kubectl(args: readonly string[], options: CommandOptions = {}): Promise<string> {
    const program = join(this.#state.programs.kubernetes, 'kubectl')
    return await runCommand(program, [`--kubeconfig=${this.kubeconfig}`, ...args], {
      timeoutMs: 60_000,
      ...options,
    })
  }

  /** A command line that runs another in the control plane's network, where the registries' names resolve. */
  enter(command: readonly string[], folder?: string): readonly string[] {
    return [...enterControlPlane(this.daemons, this.#state, folder), ...command]
  }

  /** Runs a command on a node, in all its namespaces. @returns what it printed */
  async onNode(
    node: string,
    command: readonly string[],
    options: CommandOptions = {},
  ): Promise<string> {
    const [program = '', ...args] = [...enterNode(this.daemons, node), ...command]
    return await runCommand(program, args, { timeoutMs: 60_000, ...options })
  }

  /** Names of the images in a node's containerd, as the kubelet's client sees them: names with tag or digest, no ids. */
  async imagesOn(node: string): Promise<readonly string[]> {
    const listed = await this.ctr(node, ['images', 'ls', '-q'])
    return listed.split('\n').filter((name) => name !== '' && !name.startsWith('sha256:'))
  }

  /** Has a node's containerd pull images one by one, by its own client. */
  async pullImages(
    node: string,
    names: readonly string[],
    options: CommandOptions = {},
  ): Promise<void> {
    const ctr = join(this.#state.programs.containerd, 'ctr')
    const hosts = join(this.folder, 'nodes', node, NODE_FILES.registries)
    const pull = `${ctr} -n k8s.io images pull --hosts-dir "$0" "$image" >/dev/null`
    const script = `for image; do ${pull} || exit 1; done`
    await this.onNode(node, ['sh', '-c', script, hosts, ...names], options)
  }

  /** Removes images from a node's containerd, with their content. */
  async removeImages(node: string, names: readonly string[]): Promise<void> {
    if (names.length > 0) await this.ctr(node, ['images', 'rm', '--sync', ...names])
  }

  /** Runs containerd's client on a node, on the kubelet's images and containers. */
  async ctr(node: string, args: readonly string[]): Promise<string> {
    const program = join(this.#state.programs.containerd, 'ctr')
    return await this.onNode(node, [program, '-n', 'k8s.io', ...args])
  }

  async stopApiServer(): Promise<void> {
    await this.daemons.stop('kube-apiserver')
  }

  async startApiServer(): Promise<void> {
    await restartApiServer(this.#controlPlane)
  }

  async stopKubelet(node: string): Promise<void> {
    await this.daemons.stop(nodeDaemons(node).kubelet)
  }

  /** Starts a node's kubelet again; returns when the node is Ready. */
  async startKubelet(node: string): Promise<void> {
    await startKubelet(this.#node(this.#planned(node)))
  }

  /** How much room there is on a node's disk. */
  async disk(node: string): Promise<DiskUse> {
    const asked = ['--block-size=1', '--output=size,avail', DISK_FOLDER]
    return parseDiskUse(await this.onNode(node, ['df', ...asked]))
  }

  /**
   * Takes room on a node's disk until so much is free, with one file; again to take more or less.
   *
   * @param freeMib - default: all that it took is free again
   */
  async fillDisk(node: string, freeMib?: number): Promise<void> {
    const file = join(DISK_FOLDER, 'ballast')
    await this.onNode(node, ['rm', '-f', file])
    if (freeMib === undefined) return
    const taken = Math.floor((await this.disk(node)).freeMib - freeMib)
    if (taken > 0) await this.onNode(node, ['fallocate', `--length=${taken}MiB`, file])
  }

  /** Adds an empty node; returns when it is Ready. */
  async addNode(settings?: NodeSettings): Promise<NodePlan> {
    let name = ''
    this.#state = await updateState(this.name, (state) => {
      const last = Math.max(0, ...state.nodes.map(({ index }) => index))
      const added = nodePlan(state.addresses, last + 1, settings)
      name = added.name
      return { ...state, nodes: [...state.nodes, added] }
    })
    const node = this.#planned(name)
    await startNode(this.#node(node))
    return node
  }

  /** A power cut: every process of the node ends at once. What it stored stays for {@link reviveNode}. */
  async killNode(node: string): Promise<void> {
    // The holder is the node's init: with it goes everything else, and what is left to do is the records.
    const { holder, ...others } = nodeDaemons(this.#planned(node).name)
    for (const name of [holder, ...Object.values(others)]) await this.daemons.stop(name)
  }

  /** Kills a node and forgets it: its Node object, and what it stored. */
  async removeNode(node: string): Promise<void> {
    await this.killNode(node)
    await this.kubectl(['delete', 'node', node, '--ignore-not-found'])
    await rm(join(this.folder, 'nodes', node), { recursive: true, force: true })
    this.#state = await updateState(this.name, (state) => ({
      ...state,
      nodes: state.nodes.filter(({ name }) => name !== node),
    }))
  }

  /** Starts a node that was killed, with what it stored; returns when it is Ready. */
  async reviveNode(node: string): Promise<void> {
    await startNode(this.#node(this.#planned(node)))
  }

  /** Starts a node anew with other settings, by a power cut; what it stored stays, unless its disk is another one. */
  async configureNode(node: string, settings: NodeSettings): Promise<void> {
    const { index } = this.#planned(node)
    await this.killNode(node)
    this.#state = await updateState(this.name, (state) => ({
      ...state,
      nodes: state.nodes.map((one) =>
        one.name === node ? nodePlan(state.addresses, index, settings) : one,
      ),
    }))
    await this.reviveNode(node)
  }

  /**
   * Cuts a place off from a registry.
   *
   * @param place - a node, with all its pods; or `control-plane`, where the commands of {@link enter} run
   * @param options.pod - address of one pod on that node, which alone is cut off; default: the whole place
   */
  async cut(
    place: string,
    registry: RegistryName,
    options: { readonly pod?: string; readonly kind?: CutKind } = {},
  ): Promise<void> {
    await cutOff(this.#cut(place, registry, options.pod), options.kind)
  }

  /** Ends a {@link cut} of the same place, registry and pod. */
  async mend(
    place: string,
    registry: RegistryName,
    options: { readonly pod?: string } = {},
  ): Promise<void> {
    await restore(this.#cut(place, registry, options.pod))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#api.close()
    await this.registries.close()
  }

  /** An API server alone is of use too, to a user who may not install the registry. */
  async #startRegistries(options: OpenOptions): Promise<void> {
    try {
      await startRegistries(this.registries, options)
    } catch (error) {
      const missing = error instanceof ClusterError && error.code === 'KIP_CLUSTER_PREREQUISITE'
      if (!missing || this.#state.addresses.level === 'nodes') throw error
      options.report(`no registries: ${error.message}`)
    }
  }

  get #controlPlane(): ControlPlaneOptions {
    const { folder, daemons } = this
    const { signal } = this.#options
    return {
      state: this.#state,
      folder,
      daemons,
      authority: this.#authority,
      ...(signal && { signal }),
    }
  }

  #node(node: NodePlan) {
    return { ...this.#controlPlane, node, api: this.#api, pause: this.#pause }
  }

  #planned(name: string): NodePlan {
    const node = this.nodes.find((node) => node.name === name)
    if (node) return node
    throw new ClusterError('KIP_CLUSTER_USAGE', `cluster ${this.name} has no node ${name}`)
  }

  #cut(place: string, registry: RegistryName, pod?: string): Cut {
    const daemon = place === HOLDER ? HOLDER : nodeDaemons(place).holder
    const holder = this.daemons.identity(daemon)
    if (!holder) throw this.daemons.failure(daemon, 'is not running')
    const address = this.#state.addresses.registries[registry]
    return { pid: holder.pid, address, ...(pod && { source: pod }) }
  }
}

function planned(name: string): ClusterState {
  const state = readState(name)
  if (state) return state
  throw new ClusterError(
    'KIP_CLUSTER_USAGE',
    `there is no cluster ${name}; npm run cluster -- up --name ${name} brings it up`,
  )
}

/** Makes the folder of a cluster's own. */
export async function makeFolder(name: string): Promise<string> {
  const folder = clusterFolder(name)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  return folder
}
