import type { KubeClient } from './client.ts'
import type { Clock } from './clock.ts'
import type { Project } from './decoder.ts'
import type { Log } from './log.ts'
import type { ProtoMessage } from './protobuf.ts'
import type { ResourcePath } from './resource.ts'
import type { ReflectorEvent } from './store.ts'
import type { WatchTiming } from './watch.ts'

/** What a reflector counts; every member is optional so that a caller takes what it shows. */
export interface ReflectorMetrics {
  /** A full list (paged or streamed) ended. */
  listed?(objects: number, seconds: number): void
  /** A watch was opened. */
  watched?(): void
  /** It ended, whichever way; `events` with its bookmarks. */
  unwatched?(events: number, seconds: number): void
  /** An event or a bookmark came. */
  event?(type: string): void
  /** A list or watch failed; `reason` is a meta/v1 StatusReason or a word of the reflector's. */
  failed?(reason: string): void
}

export interface ReflectorOptions<T> {
  readonly client: KubeClient
  readonly resource: ResourcePath
  /** Takes from one raw object what is to be kept; undefined: the object is none of ours. Pure; must not keep `raw`. */
  readonly project: Project<T>
  /**
   * For objects of which many are alike in all that `project` reads: it is asked once for these, and this makes the value of
   * each; then `project` sees of an object's own only the namespace.
   */
  readonly ofOne?: (alike: T, nodeName: string) => T
  /**
   * Whether two values of one object say the same: most changes of a pod are of its status, of which little is kept, and then
   * there is nothing to tell. Default: each change is told.
   */
  readonly isSame?: (a: T, b: T) => boolean
  /** The fields that `project` reads, to have them as protobuf from servers that speak it. Default: JSON. */
  readonly protobuf?: ProtoMessage
  /** Whether to ask for metadata alone: the rest of an object, a Secret's data say, is then not even sent. Default false. */
  readonly metadataOnly?: boolean
  /**
   * Whether changes may be told up to `timing.gatherMs` late, all that came until then at once: for resources of which hundreds
   * change a second. A list is told as it comes. Default false.
   */
  readonly gathers?: boolean
  /** Called in order, for every change; must not throw. */
  readonly onEvent?: (event: ReflectorEvent<T>) => void
  /** Called before each full list is asked for, which then tells no less than all that the server has answered until now. */
  readonly onListing?: () => void
  /** Called after each full list, when its deletions have been told too. */
  readonly onReplaced?: () => void
  readonly fieldSelector?: string
  readonly labelSelector?: string
  /** Objects a page. Default 250: JSON.parse of a page of 7.7 KB pods then holds the event loop for about 30 ms. */
  readonly pageSize?: number
  /** Whether to ask for the initial list as a stream (WatchList) first. Default true. */
  readonly watchList?: boolean
  /**
   * Whether the resource may be missing (a CRD that is not installed) or closed to us. It then counts as read, is said
   * once, and asked for again every 10 to 20 s. Default false: a failure like any other.
   */
  readonly optional?: boolean
  readonly timing?: Partial<WatchTiming>
  readonly log: Log
  readonly metrics?: ReflectorMetrics
  readonly clock?: Clock
  readonly random?: () => number
}
