import { ProtobufCursor, ProtobufError } from './protobuf-cursor.ts'
import { StringTable } from './string-table.ts'

export type ProtoKind = 'string' | 'bool' | 'int' | 'time' | 'map' | 'message' | 'inline'

/** What an object has of its own, however many are alike in the rest; the namespace is told apart, and a part of the rest. */
export type OwnName = 'name' | 'namespace' | 'uid' | 'resourceVersion' | 'nodeName'

export interface ProtoField {
  readonly name: string
  readonly kind: ProtoKind
  /** Repeated. */
  readonly list?: boolean
  /** Of a message, or of one whose fields JSON shows as its parent's. */
  readonly of?: ProtoMessage
  /** Number of the field without which a message counts as absent. */
  readonly needs?: number
  /** Of a map: the keys that are read; default: all. */
  readonly keys?: readonly string[]
  readonly own?: OwnName
  /** `makes`: an object that has it is like no other, and read by itself; `only`: read of such objects only. */
  readonly alone?: 'makes' | 'only'
}

/** Fields by their number; those that are not named are skipped. */
export type ProtoMessage = readonly (ProtoField | undefined)[]

type Writable = Record<string, unknown>

/**
 * Reads of protobuf messages only the fields that a schema names, into objects shaped like the API's JSON; the rest is
 * skipped by its length.
 *
 * What JSON leaves out when it is empty is left out here too for strings, but may be here as 0 or false.
 */
export class ProtobufReader {
  readonly #cursor: ProtobufCursor
  readonly #strings: StringTable

  /** @param strings shared between readers, so that equal strings are one */
  constructor(bytes: Buffer, strings: StringTable = new StringTable()) {
    this.#cursor = new ProtobufCursor(bytes)
    this.#strings = strings
  }

  /** Reads the message between two offsets. */
  message(schema: ProtoMessage, start: number, end: number): Record<string, unknown> {
    const object: Writable = {}
    this.#into(object, schema, start, end)
    return object
  }

  #into(object: Writable, schema: ProtoMessage, start: number, end: number): void {
    const cursor = this.#cursor
    cursor.at = start
    while (cursor.at < end) {
      const tag = cursor.varint(end)
      const wire = tag & 7
      const field = schema[tag >>> 3]
      if (field === undefined || wire !== wireOf(field.kind)) {
        cursor.skip(wire, end)
        continue
      }
      if (wire === 0) {
        const value = cursor.varint(end)
        object[field.name] = field.kind === 'bool' ? value !== 0 : value
        continue
      }
      const fieldEnd = cursor.length(end)
      this.#put(object, field, cursor.at, fieldEnd)
      cursor.at = fieldEnd
    }
    if (cursor.at !== end) {
      throw new ProtobufError('a field past the end of its message', cursor.at)
    }
  }

  #put(object: Writable, field: ProtoField, start: number, end: number): void {
    const { name, kind, of = [] } = field
    switch (kind) {
      case 'string': {
        const value = this.#strings.read(this.#cursor.bytes, start, end)
        if (field.list === true) push(object, name, value)
        else if (value !== '') object[name] = value
        break
      }
      case 'message': {
        const value = this.message(of, start, end)
        if (!isThere(value, of, field.needs)) break
        if (field.list === true) push(object, name, value)
        else object[name] = value
        break
      }
      case 'inline':
        this.#into(object, of, start, end)
        break
      case 'map':
        this.#putEntry(object, field, start, end)
        break
      case 'time': {
        const { seconds = 0 } = this.message(time, start, end) as { seconds?: number }
        // A time that is not set is written as an empty message, and left out of JSON.
        if (seconds !== 0) object[name] = timeText(seconds)
        break
      }
      default:
        break
    }
  }

  #putEntry(object: Writable, { name, keys }: ProtoField, start: number, end: number): void {
    const { key = '', value = '' } = this.message(mapEntry, start, end) as {
      key?: string
      value?: string
    }
    if (keys !== undefined && !keys.includes(key)) return
    let map = object[name] as Record<string, string> | undefined
    if (map === undefined) {
      map = {}
      object[name] = map
    }
    // A label may be called __proto__: a plain assignment would not make it a key.
    if (key === '__proto__')
      Object.defineProperty(map, key, {
        value,
        enumerable: true,
        writable: true,
        configurable: true,
      })
    else map[key] = value
  }
}

/** Calls back with number, start and end of each length-delimited field of the message between two offsets. */
export function eachField(
  bytes: Buffer,
  start: number,
  end: number,
  onField: (number: number, start: number, end: number) => void,
): void {
  const cursor = new ProtobufCursor(bytes, start)
  while (cursor.at < end) {
    const tag = cursor.varint(end)
    if ((tag & 7) !== 2) {
      cursor.skip(tag & 7, end)
      continue
    }
    const fieldEnd = cursor.length(end)
    onField(tag >>> 3, cursor.at, fieldEnd)
    cursor.at = fieldEnd
  }
}

/** Whether a message has the field that it needs to count. */
function isThere(value: Writable, of: ProtoMessage, needs = 0): boolean {
  const needed = of[needs]
  if (needed === undefined) return true
  if (needed.kind === 'inline') return isThere(value, needed.of ?? [], needed.needs)
  return value[needed.name] !== undefined
}

/** The wire type of a kind: a number, or bytes behind their length. */
export function wireOf(kind: ProtoKind): number {
  return kind === 'bool' || kind === 'int' ? 0 : 2
}

function push(object: Writable, name: string, value: unknown): void {
  const list = object[name] as unknown[] | undefined
  if (list === undefined) object[name] = [value]
  else list.push(value)
}

const mapEntry: ProtoMessage = [
  undefined,
  { name: 'key', kind: 'string' },
  { name: 'value', kind: 'string' },
]

const time: ProtoMessage = [undefined, { name: 'seconds', kind: 'int' }]

/** RFC 3339 in whole seconds, as meta/v1 Time is written; nothing for a time that no calendar has. */
function timeText(seconds: number): string | undefined {
  const date = new Date(seconds * 1000)
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString().replace('.000Z', 'Z')
}
