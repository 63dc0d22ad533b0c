import type { KubeObject, Status } from './types.ts'

/** One object as its reader left it: identity, version, and what was kept of it. */
export interface Decoded<T> {
  /** `namespace/name`, or `name` where there is no namespace. */
  readonly key: string
  readonly uid: string
  readonly resourceVersion: string
  readonly value: T
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
  /** Accept header. */
  readonly accept: string
  readList(contentType: string, body: Buffer, onObject: (object: Decoded<T>) => void): DecodedList
  eventReader(contentType: string): EventReader<T>
}

/** Takes from one raw object what is to be kept of it. */
export type Project<T> = (raw: KubeObject) => T

/** Projects one raw object; an object without metadata is refused. */
export function projectObject<T>(raw: KubeObject, project: Project<T>): Decoded<T> {
  const { namespace, name, uid, resourceVersion } = raw.metadata ?? {}
  if (name === undefined) throw new TypeError('an object without metadata.name')
  return {
    key: objectKey(namespace, name),
    uid: uid ?? '',
    resourceVersion: resourceVersion ?? '',
    value: project(raw),
  }
}

/** `namespace/name`, or `name` where there is no namespace. */
export function objectKey(namespace: string | undefined, name: string): string {
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`
}
