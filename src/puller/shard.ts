import type { Placing } from './placing.ts'
import { shortHash } from './short-hash.ts'

/**
 * What a shard is for.
 *
 * - `holding`: images that every node proved to pull and start; `originals`: the same for best-effort names.
 * - `fresh`: images not proven yet; `apart`: images that fail somewhere. In both each image has a container of its own
 *   beside the others, so that a bad one stops none.
 * - `refresh`: tags that moved, there for as long as it takes the nodes to pull what they are now.
 * - `private`: images that need credentials, with those of the workloads that use them.
 */
export type ShardKind = 'holding' | 'originals' | 'fresh' | 'apart' | 'refresh' | 'private'

/** The kinds that hold images for good, by the strategy that the user chose. */
export type ResidentKind = 'holding' | 'originals'

/** One image of a shard. */
export interface Member {
  /** As the kubelet is asked for it. */
  readonly reference: string
  /** Name of the container that pulls it. */
  readonly container: string
  /** What a tag was when the nodes were asked for it, as far as that is known. */
  readonly digest?: string
  /** What it was when it had moved: the pods were made anew for it. */
  readonly moved?: string
}

/**
 * Which nodes a shard is for: '' for all that the settings admit, else, with `-` between, the id of a placing and the
 * architectures of those that can run its images, in order (`amd64`, `amd64-arm64`, `at0a1b2c3d-amd64`).
 */
export type Where = string

/** One DaemonSet: what it is for and where, its number within these from 1 on, and what it holds. */
export interface Shard {
  readonly kind: ShardKind
  readonly index: number
  /** Absent: all nodes that the settings admit. */
  readonly where?: Where
  /** Whose id stands in `where`. */
  readonly placing?: Placing
  /** Names of nodes: only they are asked as yet; absent: all. */
  readonly first?: readonly string[]
  /** It rolls on all nodes at once, since some would never make way for the next. */
  readonly unpaced?: boolean
  /** In the order of their container names. */
  readonly members: readonly Member[]
}

/** Whether such a shard holds images for good. */
export function isResident(kind: ShardKind): kind is ResidentKind {
  return kind === 'holding' || kind === 'originals'
}

/** Whether each image of such a shard has a container of its own beside the others, so that a bad one stops none. */
export function standsSideBySide(kind: ShardKind): boolean {
  return kind === 'fresh' || kind === 'apart' || kind === 'refresh'
}

/** Name of a shard's DaemonSet: the first holding shard has the plain name, which is KIP's. */
export function shardName(base: string, kind: ShardKind, index: number, where: Where = ''): string {
  const stem = [base, kind === 'holding' ? '' : kind, where].filter((part) => part !== '').join('-')
  return index === 1 ? stem : `${stem}-${index}`
}

/**
 * Names that the DaemonSets of one shard take in turn: the shard's own, and three more for those who may not change a
 * DaemonSet and make its successor beside it. Four: one that holds, one that is to follow, one more when that is changed
 * before it is ready, and one on its way out.
 */
export function objectNames(shard: string): readonly string[] {
  return [shard, `${shard}-b`, `${shard}-c`, `${shard}-d`]
}

/** Members in the order in which a template lists them, so that the same set always gives the same bytes. */
export function sortMembers(members: Iterable<Member>): readonly Member[] {
  return [...members].sort((a, b) =>
    a.container < b.container ? -1 : a.container > b.container ? 1 : 0,
  )
}

/** A name as a label value (at most 63 characters): longer ones end in a hash. */
export function labelValue(name: string): string {
  if (name.length <= 63) return name
  return `${name.slice(0, 50).replace(/[^A-Za-z0-9]+$/, '')}-${shortHash(name)}`
}
