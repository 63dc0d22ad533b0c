import {
  type Decoded,
  type DecodedList,
  type Decoder,
  type EventReader,
  type Projection,
  projectObject,
  type WatchEvent,
} from './decoder.ts'
import { JsonEventReader, readJsonList } from './json-decoder.ts'
import { eachField, ProtobufReader, type ProtoMessage } from './protobuf.ts'
import { AlikeReader } from './protobuf-alike.ts'
import { ProtobufError } from './protobuf-cursor.ts'
import { bookmark, listMeta, status } from './protobuf-schemas.ts'
import { StringTable } from './string-table.ts'
import type { KubeObject, ListMeta, Status } from './types.ts'

/** What the API server calls its protobuf. */
export const protobufType = 'application/vnd.kubernetes.protobuf'
const accepted = `${protobufType}, application/json`

/** Before each object: `k8s` and a zero, then a runtime.Unknown around it. */
const magic = Buffer.from('k8s\0')

/** An object is at most 1.5 MiB in etcd; an event of one is far below this. */
const maxFrameBytes = 64 * 1024 * 1024

/**
 * Reads protobuf where the server has it, and JSON where it answers with that.
 *
 * @param schema - the fields that `project` reads
 */
export function protobufDecoder<T>(schema: ProtoMessage, projection: Projection<T>): Decoder<T> {
  const read = objectReader(schema, projection)
  return {
    accept: { list: accepted, watch: accepted },
    readList: (contentType, body, onObject) =>
      contentType.startsWith(protobufType)
        ? readProtobufList(body, read, onObject)
        : readJsonList(body, projection, onObject),
    eventReader: (contentType) =>
      contentType.startsWith(protobufType)
        ? new ProtobufEventReader(read)
        : new JsonEventReader(projection),
  }
}

type ReadObject<T> = (bytes: Buffer, start: number, end: number) => Decoded<T>

function objectReader<T>(schema: ProtoMessage, projection: Projection<T>): ReadObject<T> {
  if (projection.ofOne !== undefined) {
    const alike = new AlikeReader(schema, projection)
    return (bytes, start, end) => alike.read(bytes, start, end)
  }
  const strings = new StringTable()
  return (bytes, start, end) => {
    const raw = new ProtobufReader(bytes, strings).message(schema, start, end)
    return projectObject(raw as KubeObject, projection)
  }
}

/** Reads the Status of a refusal. */
export function readProtobufStatus(body: Buffer): Status {
  return readObject(body, 0, body.length, status) as Status
}

function readProtobufList<T>(
  body: Buffer,
  read: ReadObject<T>,
  onObject: (object: Decoded<T>) => void,
): DecodedList {
  const [start, end] = unwrap(body, 0, body.length)
  let metadata: ListMeta = {}
  eachField(body, start, end, (number, itemStart, itemEnd) => {
    // Every list of the API has its ListMeta at 1 and its items at 2.
    if (number === 1) metadata = new ProtobufReader(body).message(listMeta, itemStart, itemEnd)
    else if (number === 2) onObject(read(body, itemStart, itemEnd))
  })
  return {
    resourceVersion: metadata.resourceVersion ?? '',
    continueToken: metadata.continue ?? '',
  }
}

/** Frames of a length in four bytes, big endian, each a meta/v1 WatchEvent. */
class ProtobufEventReader<T> implements EventReader<T> {
  readonly #read: ReadObject<T>
  readonly #strings = new StringTable()
  /** Beginning of a frame whose rest has not come, in a buffer of our own: the chunk's is the socket's. */
  #held: Buffer = Buffer.alloc(0)
  #length = 0

  constructor(read: ReadObject<T>) {
    this.#read = read
  }

  push(chunk: Buffer, onEvent: (event: WatchEvent<T>) => void): void {
    if (this.#length === 0) {
      this.#hold(chunk, this.#frames(chunk, chunk.length, onEvent))
      return
    }
    this.#hold(chunk, 0)
    const at = this.#frames(this.#held, this.#length, onEvent)
    this.#held.copyWithin(0, at, this.#length)
    this.#length -= at
    // One large object makes no lasting buffer.
    if (this.#length === 0 && this.#held.length > largeBuffer) this.#held = Buffer.alloc(0)
  }

  /** Appends what stands in a chunk from an offset on. */
  #hold(chunk: Buffer, from: number): void {
    const length = this.#length + chunk.length - from
    if (length > this.#held.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(leastBuffer, 2 * length))
      this.#held.copy(larger, 0, 0, this.#length)
      this.#held = larger
    }
    chunk.copy(this.#held, this.#length, from)
    this.#length = length
  }

  /** Reads all whole frames; gives the offset of the first that is not. */
  #frames(buffer: Buffer, end: number, onEvent: (event: WatchEvent<T>) => void): number {
    let at = 0
    while (end - at >= 4) {
      const length = checkedLength(buffer.readUInt32BE(at))
      if (end - at < 4 + length) break
      const event = this.#event(buffer, at + 4, at + 4 + length)
      at += 4 + length
      if (event !== undefined) onEvent(event)
    }
    return at
  }

  #event(buffer: Buffer, start: number, end: number): WatchEvent<T> | undefined {
    let type = ''
    let objectStart = 0
    let objectEnd = 0
    eachField(buffer, start, end, (number, fieldStart, fieldEnd) => {
      if (number === 1) type = this.#strings.read(buffer, fieldStart, fieldEnd)
      // RawExtension: the object's bytes at 1.
      else if (number === 2) {
        eachField(buffer, fieldStart, fieldEnd, (inner, rawStart, rawEnd) => {
          if (inner === 1) [objectStart, objectEnd] = [rawStart, rawEnd]
        })
      }
    })
    switch (type) {
      case 'ADDED':
      case 'MODIFIED':
      case 'DELETED': {
        const [rawStart, rawEnd] = unwrap(buffer, objectStart, objectEnd)
        return {
          type: type === 'ADDED' ? 'added' : type === 'MODIFIED' ? 'modified' : 'deleted',
          object: this.#read(buffer, rawStart, rawEnd),
        }
      }
      case 'BOOKMARK': {
        const { metadata } = readObject(buffer, objectStart, objectEnd, bookmark) as KubeObject
        return {
          type: 'bookmark',
          resourceVersion: metadata?.resourceVersion ?? '',
          initialEventsEnd: metadata?.annotations?.['k8s.io/initial-events-end'] === 'true',
        }
      }
      case 'ERROR':
        return {
          type: 'error',
          status: readObject(buffer, objectStart, objectEnd, status) as Status,
        }
      default:
        return undefined
    }
  }
}

/** Some pods' events. */
const leastBuffer = 64 * 1024
const largeBuffer = 1024 * 1024

function readObject(
  body: Buffer,
  start: number,
  end: number,
  schema: ProtoMessage,
): Record<string, unknown> {
  const [rawStart, rawEnd] = unwrap(body, start, end)
  return new ProtobufReader(body).message(schema, rawStart, rawEnd)
}

/** Where the object lies inside its runtime.Unknown. */
function unwrap(body: Buffer, start: number, end: number): readonly [number, number] {
  if (end - start < 4 || body.compare(magic, 0, 4, start, start + 4) !== 0) {
    throw new ProtobufError('an object without its mark', start)
  }
  let found: readonly [number, number] = [end, end]
  eachField(body, start + 4, end, (number, rawStart, rawEnd) => {
    if (number === 2) found = [rawStart, rawEnd]
  })
  return found
}

function checkedLength(length: number): number {
  if (length > maxFrameBytes) throw new ProtobufError(`a frame of ${length} bytes`, 0)
  return length
}
