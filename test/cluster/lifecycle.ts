import { copyFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, makeFolder } from './cluster.ts'
import { runCommand } from './command.ts'
import { ClusterError } from './errors.ts'
import { routeDestinations } from './ipv4.ts'
import { removeCgroups } from './node/cgroups.ts'
import { pauseArchive } from './node/pause-image.ts'
import type { NodeSettings } from './node/settings.ts'
import { ensurePackages } from './packages.ts'
import { type AddressPlan, type ClusterLevel, nodePlan, pickAddresses } from './plan.ts'
import { canListen, freePorts } from './ports.ts'
import { missingForNodes } from './prerequisites.ts'
import { Daemons } from './process.ts'
import { bootId, ownIdentity } from './process-identity.ts'
import { containerdPrograms, kubernetesPrograms } from './programs.ts'
import type { Report } from './progress.ts'
import { registryHosts } from './registry-hosts.ts'
import { sleepProgram } from './sleep-program.ts'
import {
  type ClusterState,
  clusterFolder,
  clusterNames,
  leftoverReason,
  newClusterId,
  readState,
  removeState,
  withClustersLock,
  writeState,
} from './state.ts'
import { together } from './together.ts'
import { kubernetesVersion } from './versions.ts'

/** What nodes need of Debian; `docker-registry` comes with the registries. */
const NODE_PACKAGES = [
  ...['runc', 'containernetworking-plugins', 'iptables', 'conntrack', 'iproute2', 'util-linux'],
]
/** A port that was free may be taken a moment later. */
const PORT_TRIES = 3

export interface UpOptions {
  readonly name: string
  /** 0: control plane and registries on the machine's loopback, without root. */
  readonly nodes: number
  /** Of every node; default: as usual. */
  readonly nodeSettings?: NodeSettings
  /** The cluster goes with this process: once it is gone, the cluster is a leftover. Default: it stays until `down`. */
  readonly owned?: boolean
  /** A minor or a release; default: the pinned one. */
  readonly kubernetes?: string
  /** Further arguments of the API server. */
  readonly apiServerArguments?: readonly string[]
  /** Variables of the control plane's programs, which inherit none. */
  readonly controlPlaneEnvironment?: Readonly<Record<string, string>>
  /** Further arguments of the controller manager; the last one of a name counts. */
  readonly controllerManagerArguments?: readonly string[]
  /** Further arguments of etcd; the last one of a name counts. */
  readonly etcdArguments?: readonly string[]
  readonly report: Report
  readonly signal?: AbortSignal
}

/**
 * Brings a cluster up, and takes all of it down again when that fails or is aborted.
 *
 * @throws ClusterError when one of that name is there, or a component does not start
 */
export async function upCluster(options: UpOptions): Promise<Cluster> {
  const { name, nodes, report, signal } = options
  await removeLeftovers({ report })
  const level: ClusterLevel = nodes > 0 ? 'nodes' : 'control-plane'
  const missing = level === 'nodes' ? missingForNodes() : undefined
  if (missing) {
    const instead = 'the control plane alone does not: --nodes 0'
    throw new ClusterError('KIP_CLUSTER_PREREQUISITE', `nodes need ${missing}; ${instead}`)
  }
  const programs = await buildPrograms(level, options)
  // Another user's clusters are not known here, only that what they listen on is taken.
  const avoid: string[] = []
  for (let attempt = 1; ; attempt++) {
    const { addresses } = await plan(options, level, programs, avoid)
    avoid.push(addresses.range)
    let cluster: Cluster | undefined
    try {
      const open = { report, ...(signal && { signal }) }
      await Cluster.prepare(name, open)
      cluster = await Cluster.open(name, open)
      if (programs.pause) await copyFile(programs.pause, join(cluster.folder, 'pause.tar'))
      await cluster.start()
      await markReady(cluster.state, options.owned === true)
      return cluster
    } catch (error) {
      await cluster?.[Symbol.asyncDispose]()
      const taken = portTaken(name, error)
      await downCluster(name, { report: () => undefined })
      if (!taken || attempt === PORT_TRIES || signal?.aborted) throw error
      report(`${taken}: its port was taken in the meantime, trying others`)
    }
  }
}

/** Takes hold of a cluster that is up. */
export async function attachCluster(
  name: string,
  options: { readonly report: Report; readonly signal?: AbortSignal },
): Promise<Cluster> {
  const state = readState(name)
  if (state && leftoverReason(state) === undefined && state.phase === 'ready')
    return await Cluster.open(name, options)
  const what = state ? `cluster ${name} is not up` : `there is no cluster ${name}`
  throw new ClusterError(
    'KIP_CLUSTER_USAGE',
    `${what}; npm run cluster -- up --name ${name} brings one up`,
  )
}

/**
 * Ends every process of a cluster and removes what it left: cgroups and files. Namespaces, links and mounts go with the
 * processes.
 *
 * @returns whether there was one
 */
export async function downCluster(
  name: string,
  { report }: { readonly report: Report },
): Promise<boolean> {
  if (!clusterNames().includes(name)) return false
  const state = readState(name)
  // Should this process be killed here, what is left is a leftover.
  if (state) await writeState({ ...state, phase: 'stopping', owner: ownIdentity() })
  // After a restart of the machine the recorded numbers are other processes'.
  if (state === undefined || state.bootId === bootId()) {
    const daemons = new Daemons({ folder: clusterFolder(name) })
    await together(
      undefined,
      daemons.names().map((daemon) => () => daemons.stop(daemon)),
    )
  }
  if (state) await removeCgroups(state.id)
  await removeState(name)
  report(`cluster ${name} is down`)
  return true
}

/** Takes down what killed processes left behind, and says so. */
export async function removeLeftovers({ report }: { readonly report: Report }): Promise<void> {
  const reasonFor = (name: string): string | undefined =>
    clusterNames().includes(name) ? leftoverReason(readState(name)) : undefined
  for (const name of clusterNames()) {
    if (reasonFor(name) === undefined) continue
    // A folder whose state is just being written looks like a leftover, but not to who holds the lock.
    await withClustersLock(async () => {
      const reason = reasonFor(name)
      if (reason === undefined) return
      report(`cluster ${name} is a leftover (${reason}): removing it`)
      await downCluster(name, { report: () => undefined })
    })
  }
}

/** Folders of programs, and the archive of the pause image; what only nodes need is empty without them. */
interface Programs {
  readonly kubernetes: string
  readonly containerd: string
  readonly sleep: string
  readonly pause: string
}

async function buildPrograms(level: ClusterLevel, options: UpOptions): Promise<Programs> {
  const build = { report: options.report, ...(options.signal && { signal: options.signal }) }
  const version = kubernetesVersion(options.kubernetes ?? process.env.KIP_KUBE_VERSION)
  const kubernetes = await kubernetesPrograms(version, build)
  if (level === 'control-plane') return { kubernetes, containerd: '', sleep: '', pause: '' }
  await ensurePackages(NODE_PACKAGES, build)
  const containerd = await containerdPrograms(build)
  const sleep = await sleepProgram(build)
  const pause = await pauseArchive(sleep, build)
  return { kubernetes, containerd, sleep: dirname(sleep), pause }
}

/** Chooses what clusters must not share, and writes it down before anything is made. */
async function plan(
  options: UpOptions,
  level: ClusterLevel,
  programs: Programs,
  avoid: readonly string[],
): Promise<ClusterState> {
  const { name, signal } = options
  const routes = level === 'nodes' ? await machineRoutes(signal) : []
  return await withClustersLock(
    async () => {
      if (clusterNames().includes(name))
        throw new ClusterError(
          'KIP_CLUSTER_USAGE',
          `cluster ${name} is there already; npm run cluster -- down --name ${name} takes it down`,
        )
      const addresses = await freeAddresses(level, routes, avoid)
      const [api = 0, etcd = 0, etcdPeer = 0] = await freePorts(3)
      await makeFolder(name)
      const state: ClusterState = {
        name,
        id: newClusterId(),
        phase: 'starting',
        owner: ownIdentity(),
        bootId: bootId(),
        kubernetes: kubernetesVersion(options.kubernetes ?? process.env.KIP_KUBE_VERSION).release,
        addresses,
        ports: { api, etcd, etcdPeer },
        programs: {
          kubernetes: programs.kubernetes,
          containerd: programs.containerd,
          sleep: programs.sleep,
        },
        nodes: Array.from({ length: options.nodes }, (_, index) =>
          nodePlan(addresses, index + 1, options.nodeSettings),
        ),
        ...(options.apiServerArguments && { apiServerArguments: options.apiServerArguments }),
        ...(options.controlPlaneEnvironment && {
          controlPlaneEnvironment: options.controlPlaneEnvironment,
        }),
        ...(options.controllerManagerArguments && {
          controllerManagerArguments: options.controllerManagerArguments,
        }),
        ...(options.etcdArguments && { etcdArguments: options.etcdArguments }),
      }
      await writeState(state)
      return state
    },
    signal ? { signal } : {},
  )
}

async function markReady(state: ClusterState, owned: boolean): Promise<void> {
  const { owner, ...rest } = state
  await writeState({ ...rest, phase: 'ready', ...(owned && owner ? { owner } : {}) })
}

/** A range that no route, no known cluster, and on loopback no listener has: other users' clusters are not known here. */
async function freeAddresses(
  level: ClusterLevel,
  routes: readonly string[],
  avoid: readonly string[],
): Promise<AddressPlan> {
  const taken = [
    ...avoid,
    ...clusterNames().flatMap((name) => readState(name)?.addresses.range ?? []),
  ]
  for (;;) {
    const addresses = pickAddresses({ level, routes, taken })
    if (!addresses)
      throw new ClusterError(
        'KIP_CLUSTER_PREREQUISITE',
        'every range of addresses for a cluster is taken by a route or another cluster',
      )
    if (level === 'nodes' || (await canListen(registryHosts(addresses)))) return addresses
    taken.push(addresses.range)
  }
}

async function machineRoutes(signal?: AbortSignal): Promise<readonly string[]> {
  const listing = await runCommand('ip', ['-4', '-o', 'route', 'show', 'table', 'all'], {
    ...(signal && { signal }),
  })
  return routeDestinations(listing)
}

/** What could not start because its port was taken, if that was why. */
function portTaken(name: string, error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && error.code === 'EADDRINUSE') return 'relay'
  const daemons = new Daemons({ folder: clusterFolder(name) })
  return daemons.names().find((daemon) => /address already in use/.test(daemons.logTail(daemon, 5)))
}

/** Waits until a condition holds; for tests that watch the cluster from outside. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  options: { readonly timeoutMs: number; readonly everyMs?: number; readonly signal?: AbortSignal },
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs
  let last: unknown
  for (;;) {
    try {
      const found = await look()
      if (found !== undefined && found !== false) return found
    } catch (error) {
      last = error
    }
    if (performance.now() > deadline)
      throw new Error(`no ${what} after ${options.timeoutMs / 1000} s`, { cause: last })
    await delay(options.everyMs ?? 200, undefined, options.signal && { signal: options.signal })
  }
}
