import {
  type Decoded,
  type DecodedList,
  type Decoder,
  type EventReader,
  type Project,
  projectObject,
  type WatchEvent,
} from './decoder.ts'
import { JsonEventReader, readJsonList } from './json-decoder.ts'
import { ProtobufError, ProtobufReader, type ProtoMessage } from './protobuf.ts'
import { listMeta, objectMeta, status } from './protobuf-schemas.ts'
import type { KubeObject, ListMeta, Status } from './types.ts'

export const protobufType = 'application/vnd.kubernetes.protobuf'

/** Before each object: `k8s` and a zero, then a runtime.Unknown around it. */
const magic = Buffer.from('k8s\0')

/** An object is at most 1.5 MiB in etcd; an event of one is far below this. */
const maxFrameBytes = 64 * 1024 * 1024

/**
 * Reads protobuf where the server has it, and JSON where it answers with that.
 *
 * @param schema - the fields that `project` reads
 */
export function protobufDecoder<T>(schema: ProtoMessage, project: Project<T>): Decoder<T> {
  return {
    accept: `${protobufType}, application/json`,
    readList: (contentType, body, onObject) =>
      contentType.startsWith(protobufType)
        ? readProtobufList(body, schema, project, onObject)
        : readJsonList(body, project, onObject),
    eventReader: (contentType) =>
      contentType.startsWith(protobufType)
        ? new ProtobufEventReader(schema, project)
        : new JsonEventReader(project),
  }
}

/** Reads the Status of a refusal. */
export function readProtobufStatus(body: Buffer): Status {
  return readObject(body, 0, body.length, status) as Status
}

function readProtobufList<T>(
  body: Buffer,
  schema: ProtoMessage,
  project: Project<T>,
  onObject: (object: Decoded<T>) => void,
): DecodedList {
  const [start, end] = unwrap(body, 0, body.length)
  let metadata: ListMeta = {}
  new ProtobufReader(body).fields(start, end, (number, itemStart, itemEnd) => {
    // Every list of the API has its ListMeta at 1 and its items at 2.
    if (number === 1) metadata = new ProtobufReader(body).message(listMeta, itemStart, itemEnd)
    else if (number === 2) {
      const raw = new ProtobufReader(body).message(schema, itemStart, itemEnd)
      onObject(projectObject(raw as KubeObject, project))
    }
  })
  return {
    resourceVersion: metadata.resourceVersion ?? '',
    continueToken: metadata.continue ?? '',
  }
}

/** Frames of a length in four bytes, big endian, each a meta/v1 WatchEvent. */
class ProtobufEventReader<T> implements EventReader<T> {
  readonly #schema: ProtoMessage
  readonly #project: Project<T>
  #parts: Buffer[] = []
  #bytes = 0

  constructor(schema: ProtoMessage, project: Project<T>) {
    this.#schema = schema
    this.#project = project
  }

  push(chunk: Buffer, onEvent: (event: WatchEvent<T>) => void): void {
    this.#parts.push(chunk)
    this.#bytes += chunk.length
    let buffer: Buffer | undefined
    let at = 0
    for (;;) {
      const have = this.#bytes - at
      if (have < 4) break
      if (buffer === undefined) {
        const length = this.#frameLength()
        // Of a large object, whose chunks are many, nothing is copied before it is whole.
        if (have < 4 + length) break
        buffer = this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts)
      }
      const length = checkedLength(buffer.readUInt32BE(at))
      if (have < 4 + length) break
      const event = this.#read(buffer, at + 4, at + 4 + length)
      at += 4 + length
      if (event !== undefined) onEvent(event)
    }
    if (at === 0 && buffer === undefined) {
      // A copy: the socket's buffer is not ours to keep.
      this.#parts[this.#parts.length - 1] = Buffer.from(chunk)
      return
    }
    const rest = buffer?.subarray(at) ?? Buffer.alloc(0)
    this.#parts = rest.length === 0 ? [] : [Buffer.from(rest)]
    this.#bytes = rest.length
  }

  #frameLength(): number {
    const [first] = this.#parts
    const head = first !== undefined && first.length >= 4 ? first : Buffer.concat(this.#parts)
    return checkedLength(head.readUInt32BE(0))
  }

  #read(buffer: Buffer, start: number, end: number): WatchEvent<T> | undefined {
    let type = ''
    let objectStart = 0
    let objectEnd = 0
    new ProtobufReader(buffer).fields(start, end, (number, fieldStart, fieldEnd) => {
      if (number === 1) type = buffer.toString('latin1', fieldStart, fieldEnd)
      // RawExtension: the object's bytes at 1.
      else if (number === 2) {
        new ProtobufReader(buffer).fields(fieldStart, fieldEnd, (inner, rawStart, rawEnd) => {
          if (inner === 1) [objectStart, objectEnd] = [rawStart, rawEnd]
        })
      }
    })
    switch (type) {
      case 'ADDED':
      case 'MODIFIED':
      case 'DELETED': {
        const raw = readObject(buffer, objectStart, objectEnd, this.#schema)
        return {
          type: type === 'ADDED' ? 'added' : type === 'MODIFIED' ? 'modified' : 'deleted',
          object: projectObject(raw as KubeObject, this.#project),
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

const bookmark: ProtoMessage = [undefined, { name: 'metadata', kind: 'message', of: objectMeta }]

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
  new ProtobufReader(body).fields(start + 4, end, (number, rawStart, rawEnd) => {
    if (number === 2) found = [rawStart, rawEnd]
  })
  return found
}

function checkedLength(length: number): number {
  if (length > maxFrameBytes) throw new ProtobufError(`a frame of ${length} bytes`, 0)
  return length
}
