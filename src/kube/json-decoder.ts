import {
  type Decoded,
  type DecodedList,
  type Decoder,
  type EventReader,
  type Projection,
  projectObject,
  type WatchEvent,
} from './decoder.ts'
import type { KubeList, KubeObject, Status } from './types.ts'

const newline = 0x0a

/** An object is at most 1.5 MiB in etcd; as JSON inside an event this is far above any. */
const maxEventBytes = 64 * 1024 * 1024

/** Of metadata alone. A watch that is asked for the list's kind is opened, and ended at its first event. */
const partialMetadata = {
  list: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
  watch: 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1',
}
const whole = { list: 'application/json', watch: 'application/json' }

/** Reads JSON, which every resource has; `metadataOnly`: of metadata alone. */
export function jsonDecoder<T>(
  projection: Projection<T>,
  { metadataOnly = false }: { readonly metadataOnly?: boolean } = {},
): Decoder<T> {
  return {
    accept: metadataOnly ? partialMetadata : whole,
    readList: (_contentType, body, onObject) => readJsonList(body, projection, onObject),
    eventReader: () => new JsonEventReader(projection),
  }
}

/** Reads one page of a list. */
export function readJsonList<T>(
  body: Buffer,
  projection: Projection<T>,
  onObject: (object: Decoded<T>) => void,
): DecodedList {
  const list = JSON.parse(body.toString('utf8')) as KubeList<KubeObject>
  for (const item of list.items ?? []) onObject(projectObject(item, projection))
  return {
    resourceVersion: list.metadata?.resourceVersion ?? '',
    continueToken: list.metadata?.continue ?? '',
  }
}

interface JsonEvent {
  readonly type?: string
  readonly object?: KubeObject & Status
}

/** One JSON document a line. */
export class JsonEventReader<T> implements EventReader<T> {
  readonly #projection: Projection<T>
  #parts: Buffer[] = []
  #bytes = 0

  constructor(projection: Projection<T>) {
    this.#projection = projection
  }

  push(chunk: Buffer, onEvent: (event: WatchEvent<T>) => void): void {
    let start = 0
    for (;;) {
      const end = chunk.indexOf(newline, start)
      if (end < 0) break
      this.#parts.push(chunk.subarray(start, end))
      const line =
        this.#parts.length === 1 ? (this.#parts[0] as Buffer) : Buffer.concat(this.#parts)
      this.#parts = []
      this.#bytes = 0
      start = end + 1
      const event = line.length === 0 ? undefined : this.#read(line)
      if (event !== undefined) onEvent(event)
    }
    if (start < chunk.length) {
      this.#bytes += chunk.length - start
      if (this.#bytes > maxEventBytes) throw new RangeError('a watch event without end')
      // A copy: the rest of the chunk must not be kept alive by its last bytes.
      this.#parts.push(Buffer.from(chunk.subarray(start)))
    }
  }

  #read(line: Buffer): WatchEvent<T> | undefined {
    const { type, object } = JSON.parse(line.toString('utf8')) as JsonEvent
    if (object === undefined) throw new TypeError('a watch event without an object')
    switch (type) {
      case 'ADDED':
        return { type: 'added', object: projectObject(object, this.#projection) }
      case 'MODIFIED':
        return { type: 'modified', object: projectObject(object, this.#projection) }
      case 'DELETED':
        return { type: 'deleted', object: projectObject(object, this.#projection) }
      case 'BOOKMARK':
        return {
          type: 'bookmark',
          resourceVersion: object.metadata?.resourceVersion ?? '',
          initialEventsEnd: object.metadata?.annotations?.['k8s.io/initial-events-end'] === 'true',
        }
      case 'ERROR':
        return { type: 'error', status: object }
      default:
        // A later server may know more; what it means for this watch is not known, and it is no change.
        return undefined
    }
  }
}
