import type { Settings } from '../config/settings.ts'
import { decide } from '../decide/decide.ts'
import type { Mapping } from '../images/mapping.ts'
import type { Nodes } from '../state/cached-image.ts'
import type { ImageStore } from '../state/store.ts'
import type { DaemonSetOptions, ObservedShard } from './daemon-set.ts'
import { isLinux } from './ground.ts'
import { checksCredentials } from './node-abilities.ts'
import { isSelected, type NodeDemand } from './node-fit.ts'
import type { NodeView } from './node-view.ts'
import { isMissing } from './placement.ts'
import type { PodView } from './pod-view.ts'
import type { PrivateScene } from './private-images.ts'
import { labelValue } from './shard.ts'

/** Puller pods of a node that are not for private images: what is held, best-effort names, and what is on its way. */
const podsForOthers = 3

export interface PrivateWantedOptions {
  readonly store: ImageStore
  readonly settings: Settings
  readonly mapping: Mapping
  /** Milliseconds since the epoch. */
  readonly now: number
}

/** Images in use that need credentials and that nobody named in `IMAGES` or by an object made by hand. */
function privateWanted(
  options: PrivateWantedOptions,
): ReadonlyMap<string, { readonly uses: number; readonly before?: Nodes }> {
  const { store, settings, mapping, now } = options
  const wanted = new Map<string, { readonly uses: number; readonly before?: Nodes }>()
  if (settings.puller.privateImages === 'off') return wanted
  for (const image of store.list()) {
    const { reference, source, usage, nodes } = image
    if (source?.state !== 'NeedsCredentials') continue
    const { cache } = decide({ reference, image, mapping, settings, now })
    if (cache.code !== 'NeedsCredentials') continue
    wanted.set(reference, {
      uses: usage?.pods ?? 0,
      ...(nodes === undefined ? {} : { before: nodes }),
    })
  }
  return wanted
}

export interface PrivateSceneOptions extends PrivateWantedOptions {
  /** All that there are, of every kind. */
  readonly shards: readonly ObservedShard[]
  readonly pods: Iterable<PodView>
  readonly nodes: readonly NodeView[] | undefined
  /** How many of these have pods of every shard. */
  readonly served: number
  /** DaemonSets may be changed in place. */
  readonly mayPatch: boolean
  readonly building: DaemonSetOptions
  /** Names of shards whose pods kubelets refuse. */
  readonly paused: ReadonlySet<string>
}

/** What images that need credentials are to be held with, and what is there of them. */
export function privateScene(options: PrivateSceneOptions): PrivateScene {
  const { settings, shards, pods, nodes, served, mayPatch, building, paused } = options
  const own = shards.filter((shard) => shard.kind === 'private' && !isMissing(shard))
  const names = new Set(own.map(({ name }) => labelValue(name)))
  // Secrets are made and removed with DaemonSets that are changed in place, and where an image stands is told by pods.
  const able = mayPatch && nodes !== undefined
  return {
    wanted: able ? privateWanted(options) : new Map(),
    shards: own.filter(({ deleting }) => !deleting),
    pods: names.size === 0 ? [] : [...pods].filter(({ shard }) => names.has(shard)),
    allowed: mayHoldPrivate(settings, nodes),
    layers: privateLayers(settings),
    nodeCount: served,
    strategy: building.strategy,
    building,
    paused,
  }
}

/** How many shards private images may have: what a node may have beyond the three that all else needs. */
export function privateLayers({ puller }: Pick<Settings, 'puller'>): number {
  return Math.max(0, puller.podsPerNode - podsForOthers)
}

/**
 * Whether every kubelet that shards are or may come to be on has a pod show credentials for what another pod pulled with
 * some. Whatever taints a node has: they go, and its kubelet stays.
 *
 * @param nodes undefined: they may not be read
 */
export function everyKubeletChecks(
  nodes: readonly NodeView[] | undefined,
  demand: NodeDemand,
): boolean {
  return (
    nodes?.filter((node) => isLinux(node) && isSelected(node, demand)).every(checksCredentials) ??
    false
  )
}

/** Whether private images may be held: no pod is let in to what it could not pull, or the user wants that unchecked. */
export function mayHoldPrivate(
  { puller }: Pick<Settings, 'puller'>,
  nodes: readonly NodeView[] | undefined,
): boolean {
  if (puller.privateImages === 'all') return true
  return puller.privateImages === 'verified' && everyKubeletChecks(nodes, puller)
}
