import { randomBytes } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ClusterError } from './errors.ts'
import { withLock } from './lock.ts'
import type { AddressPlan, NodePlan } from './plan.ts'
import { bootId, isAlive, type ProcessIdentity } from './process-identity.ts'

/** What is written down about a cluster before anything of it is made, in `cluster.json` of its folder. */
export interface ClusterState {
  readonly name: string
  /** Eight random hex digits: what cgroups bear in their names, so that a later cluster of the same name is another. */
  readonly id: string
  readonly phase: 'starting' | 'ready' | 'stopping'
  /** The process without which the cluster is a leftover; a cluster that is to stay has none once it is ready. */
  readonly owner?: ProcessIdentity
  readonly bootId: string
  /** `1.35.4` */
  readonly kubernetes: string
  readonly addresses: AddressPlan
  readonly ports: ClusterPorts
  readonly programs: ClusterPrograms
  readonly nodes: readonly NodePlan[]
  /** Further arguments of the API server, such as an OpenID issuer's. */
  readonly apiServerArguments?: readonly string[]
  /** Variables of the control plane's programs, such as how they collect garbage. */
  readonly controlPlaneEnvironment?: Readonly<Record<string, string>>
  /** Further arguments of the controller manager, such as how long a node may be silent. */
  readonly controllerManagerArguments?: readonly string[]
  /** Further arguments of etcd, such as another quota. */
  readonly etcdArguments?: readonly string[]
}

export interface ClusterPorts {
  /** Of the API server, the same number on the machine's loopback and in the control plane's namespace. */
  readonly api: number
  readonly etcd: number
  readonly etcdPeer: number
}

/** Folders of built programs; those for nodes are empty in a cluster without nodes. */
export interface ClusterPrograms {
  readonly kubernetes: string
  readonly containerd: string
  readonly sleep: string
}

/** Where clusters are kept: `$XDG_STATE_HOME/kip`, by default `~/.local/state/kip`; never inside the tree. */
export function stateFolder(): string {
  return join(process.env.XDG_STATE_HOME || join(homedir(), '.local', 'state'), 'kip')
}

/**
 * The folder of one cluster: `cluster.json`, `processes/`, `logs/`, `pki/`, and what its components store.
 *
 * @throws ClusterError (KIP_CLUSTER_USAGE) for a name that is no name
 */
export function clusterFolder(name: string): string {
  if (!/^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$/.test(name)) {
    const rule = 'lower-case letters, digits and inner hyphens, a letter first, 32 at most'
    throw new ClusterError(
      'KIP_CLUSTER_USAGE',
      `${JSON.stringify(name)} is no cluster name: ${rule}`,
    )
  }
  return join(stateFolder(), 'clusters', name)
}

/** Names of all clusters that have left a trace, whole or not. */
export function clusterNames(): readonly string[] {
  try {
    return readdirSync(join(stateFolder(), 'clusters')).sort()
  } catch {
    return []
  }
}

/** Undefined when there is no such cluster, or its folder was left without a readable state. */
export function readState(name: string): ClusterState | undefined {
  try {
    return JSON.parse(readFileSync(join(clusterFolder(name), 'cluster.json'), 'utf8'))
  } catch (error) {
    if (error instanceof ClusterError) throw error
    return undefined
  }
}

export async function writeState(state: ClusterState): Promise<void> {
  const folder = clusterFolder(state.name)
  const temporary = join(folder, `.cluster.json.${process.pid}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  await writeFile(temporary, `${JSON.stringify(state, undefined, 2)}\n`)
  await rename(temporary, join(folder, 'cluster.json'))
}

/**
 * Changes the state of a cluster that is there, one process at a time.
 *
 * @throws ClusterError (KIP_CLUSTER_USAGE) when there is no such cluster
 */
export async function updateState(
  name: string,
  change: (state: ClusterState) => ClusterState,
): Promise<ClusterState> {
  return withClustersLock(async () => {
    const state = readState(name)
    if (!state) throw new ClusterError('KIP_CLUSTER_USAGE', `there is no cluster ${name}`)
    const changed = change(state)
    await writeState(changed)
    return changed
  })
}

/** One process at a time chooses what clusters must not share. */
export async function withClustersLock<T>(
  work: () => Promise<T>,
  options: { readonly signal?: AbortSignal } = {},
): Promise<T> {
  return withLock(join(stateFolder(), 'clusters.lock'), work, options)
}

export async function removeState(name: string): Promise<void> {
  await rm(clusterFolder(name), { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
}

export function newClusterId(): string {
  return randomBytes(4).toString('hex')
}

/** Why a cluster is only what something that is gone left behind; undefined when it is in order. */
export function leftoverReason(
  state: Pick<ClusterState, 'bootId' | 'owner' | 'phase'> | undefined,
  now: { readonly bootId: string; readonly isAlive: (process: ProcessIdentity) => boolean } = {
    bootId: bootId(),
    isAlive,
  },
): string | undefined {
  if (!state) return 'its state cannot be read'
  if (state.bootId !== now.bootId) return 'the machine was started anew since'
  if (state.owner && !now.isAlive(state.owner)) {
    const unfinished = state.phase === 'ready' ? '' : ` while it was ${state.phase}`
    return `process ${state.owner.pid}, which it belonged to, is gone${unfinished}`
  }
  return undefined
}
