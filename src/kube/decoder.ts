import type { KubeObject, Pod, Status } from './types.ts'
import { type CompactUid, compactUid } from './uid.ts'

/** One object as its reader left it: identity, version, and what was kept of it. */
export interface Decoded<T> {
  /** `namespace/name`, or `name` where there is no namespace. */
  readonly key: string
  readonly uid: CompactUid
  readonly resourceVersion: string
  /** undefined: nothing is kept of it. */
  readonly value: T | undefined
}

export type WatchEvent<T> =
  | { readonly type: 'added' | 'modified' | 'deleted'; readonly object: Decoded<T> }
  | {
      readonly type: 'bookmark'
      readonly resourceVersion: string
      /** Set on the bookmark that ends the initial events of a WatchList. */
      readonly initialEventsEnd: boolean
    }
  | { readonly type: 'error'; readonly status: Status }

export interface DecodedList {
  readonly resourceVersion: string
  /** '' on the last page. */
  readonly continueToken: string
}

/** Puts the chunks of one watch stream together into events. */
export interface EventReader<T> {
  push(chunk: Buffer, onEvent: (event: WatchEvent<T>) => void): void
}

/**
 * How the bytes of one resource become values. The object that a value was projected from is dropped before the next
 * one is read.
 */
export interface Decoder<T> {
  /** Accept headers. */
  readonly accept: { readonly list: string; readonly watch: string }
  readList(contentType: string, body: Buffer, onObject: (object: Decoded<T>) => void): DecodedList
  eventReader(contentType: string): EventReader<T>
}

/** Takes from one raw object what is to be kept of it; undefined: nothing. */
export type Project<T> = (raw: KubeObject) => T | undefined

/** How raw objects become values. */
export interface Projection<T> {
  readonly project: Project<T>
  /**
   * Makes the value of one object from the value of all that are like it, where `project` is to be asked only once for these:
   * it then sees neither name, uid and version, nor the node's name.
   */
  readonly ofOne?: ((alike: T, nodeName: string) => T) | undefined
  /** `project` threw: one odd object, which must not keep all the others out. */
  readonly onFault: (
    error: unknown,
    object: { readonly namespace?: string | undefined; readonly name: string },
  ) => void
}

/** Projects one raw object; an object without metadata is refused. */
export function projectObject<T>(raw: KubeObject, projection: Projection<T>): Decoded<T> {
  const { namespace, name, uid, resourceVersion } = raw.metadata ?? {}
  if (name === undefined) throw new TypeError('an object without metadata.name')
  const { project, ofOne, onFault } = projection
  let value: T | undefined
  try {
    value = project(raw)
    if (ofOne !== undefined && value !== undefined) {
      value = ofOne(value, (raw as Pod).spec?.nodeName ?? '')
    }
  } catch (error) {
    onFault(error, { namespace, name })
    value = undefined
  }
  return {
    key: objectKey(namespace, name),
    uid: compactUid(uid ?? ''),
    resourceVersion: resourceVersion ?? '',
    value,
  }
}

/** `namespace/name`, or `name` where there is no namespace. */
function objectKey(namespace: string | undefined, name: string): string {
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`
}
