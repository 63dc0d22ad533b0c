import type { Decoded, Projection } from './decoder.ts'
import {
  type OwnName,
  ProtobufReader,
  type ProtoKind,
  type ProtoMessage,
  wireOf,
} from './protobuf.ts'
import { ProtobufCursor, ProtobufError } from './protobuf-cursor.ts'
import { StringTable } from './string-table.ts'
import type { KubeObject } from './types.ts'
import { compactUidOf } from './uid.ts'

/** Outlines that are remembered, with what is decoded of them counted as much again: some 30,000 of pods. */
const rememberedBytes = 32 * 1024 * 1024
/** A sum of fields beyond this is some huge annotation's, and shared by nobody. */
const longestOutline = 16 * 1024

/** What is done with a field: compiled, so that the walk over a pod's hundred fields asks no names. */
interface Step {
  readonly number: number
  readonly wire: number
  readonly act: 'copy' | 'message' | 'inline' | 'entry' | 'own' | 'alone'
  readonly of: readonly (Step | undefined)[]
  readonly needs: number
  readonly keys: readonly Buffer[] | undefined
  readonly own: number
}

const ownNames: readonly OwnName[] = ['name', 'namespace', 'uid', 'resourceVersion', 'nodeName']
/** It is read for the key, and is a part of what is alike: owners are of a namespace. */
const namespaceSlot = 1

/**
 * Reads objects of which many are alike, such as the pods of one ReplicaSet.
 *
 * A walk over an object gathers its outline: the bytes of all fields that the schema names, but those of its own (name, uid,
 * version, node). An outline that was met before has its value already, and no string of it is made again; only a new one is
 * decoded and projected. An object that is on its way out is read by itself, with all that is its own.
 */
export class AlikeReader<T> {
  readonly #schema: ProtoMessage
  readonly #steps: readonly (Step | undefined)[]
  readonly #projection: Projection<T>
  readonly #strings = new StringTable()
  readonly #known = new Map<number, Known<T>>()
  /** Nobody outside can tell which outlines fall together. */
  readonly #seed = (Math.random() * 2 ** 32) | 0
  readonly #cursor = new ProtobufCursor(Buffer.alloc(0))
  /** Start and end of each of `ownNames`. */
  readonly #own = new Int32Array(2 * ownNames.length)
  #outline: Buffer = Buffer.from(new ArrayBuffer(4096))
  /** The same bytes. */
  #words = new Int32Array(this.#outline.buffer)
  #length = 0
  #isAlone = false
  #remembered = 0

  constructor(schema: ProtoMessage, projection: Projection<T>) {
    this.#schema = schema
    this.#steps = compile(schema)
    this.#projection = projection
  }

  /** Reads the object between two offsets. */
  read(bytes: Buffer, start: number, end: number): Decoded<T> {
    const own = this.#own
    for (let at = 0; at < own.length; at += 1) own[at] = 0
    this.#cursor.bytes = bytes
    this.#length = 0
    this.#isAlone = false
    this.#walk(this.#steps, 0, start, end)
    if (own[0] === own[1]) throw new TypeError('an object without metadata.name')
    const shared = this.#shared(start, end)
    const nodeName = this.#strings.read(bytes, own[8] as number, own[9] as number)
    return {
      key: this.#key(),
      uid: compactUidOf(bytes, own[4] as number, own[5] as number),
      resourceVersion: bytes.toString('utf8', own[6], own[7]),
      value: shared === undefined ? undefined : this.#valueOf(shared, nodeName),
    }
  }

  #valueOf(shared: T, nodeName: string): T | undefined {
    const { ofOne } = this.#projection
    try {
      return ofOne === undefined ? shared : ofOne(shared, nodeName)
    } catch (error) {
      this.#faulty(error)
      return undefined
    }
  }

  /** As `objectKey` makes it, but one flat string: one that is put together lazily is kept with its parts. */
  #key(): string {
    const { bytes } = this.#cursor
    const own = this.#own
    const nameStart = own[0] as number
    const nameEnd = own[1] as number
    const namespaceStart = own[2] as number
    const namespaceEnd = own[3] as number
    if (namespaceEnd === namespaceStart) return bytes.toString('utf8', nameStart, nameEnd)
    const length = namespaceEnd - namespaceStart + 1 + nameEnd - nameStart
    if (length > this.#outline.length) this.#grow(length)
    const outline = this.#outline
    let to = 0
    for (let at = namespaceStart; at < namespaceEnd; at += 1) outline[to++] = bytes[at] as number
    outline[to++] = slash
    for (let at = nameStart; at < nameEnd; at += 1) outline[to++] = bytes[at] as number
    return outline.toString('utf8', 0, length)
  }

  /** The value of all objects of the outline that was gathered. */
  #shared(start: number, end: number): T | undefined {
    const length = this.#length
    if (this.#isAlone) return this.#decode(this.#schema, start, end)
    if (length > longestOutline) return this.#decode(withoutOwn(this.#schema), start, end)
    const hash = this.#hash()
    for (let known = this.#known.get(hash); known !== undefined; known = known.next) {
      const { outline } = known
      if (outline.length === length && outline.compare(this.#outline, 0, length) === 0) {
        return known.value
      }
    }
    const outline = Buffer.allocUnsafeSlow(length)
    this.#outline.copy(outline, 0, 0, length)
    const value = this.#decode(withoutOwn(this.#schema), start, end)
    if (this.#remembered > rememberedBytes) {
      this.#known.clear()
      this.#remembered = 0
    }
    this.#remembered += 2 * length
    this.#known.set(hash, { outline, value, next: this.#known.get(hash) })
    return value
  }

  /** Of the outline, four bytes at a time. */
  #hash(): number {
    const length = this.#length
    const words = this.#words
    // What stands there of an earlier outline must not count.
    for (let at = length; at < length + 4; at += 1) this.#outline[at] = 0
    let hash = this.#seed ^ length
    for (let at = 0; at < (length + 3) >> 2; at += 1) {
      hash = Math.imul(hash ^ (words[at] as number), 0x9e3779b1)
      hash ^= hash >>> 15
    }
    return hash
  }

  #decode(schema: ProtoMessage, start: number, end: number): T | undefined {
    const { bytes } = this.#cursor
    const reader = new ProtobufReader(bytes, this.#strings)
    const raw = reader.message(schema, start, end)
    try {
      return this.#projection.project(raw as KubeObject)
    } catch (error) {
      this.#faulty(error)
      return undefined
    }
  }

  #faulty(error: unknown): void {
    const { bytes } = this.#cursor
    const [nameStart, nameEnd, namespaceStart, namespaceEnd] = this.#own
    this.#projection.onFault(error, {
      namespace: bytes.toString('utf8', namespaceStart, namespaceEnd),
      name: bytes.toString('utf8', nameStart, nameEnd),
    })
  }

  /**
   * Walks over the message between two offsets. What is short, as nearly all is, is read here; calls would be half the cost.
   *
   * @returns whether the field that is needed was there
   */
  #walk(steps: readonly (Step | undefined)[], needed: number, start: number, end: number): boolean {
    const cursor = this.#cursor
    const { bytes } = cursor
    let found = needed === 0
    let at = start
    while (at < end) {
      let tag = bytes[at] as number
      if (tag < 0x80) at += 1
      else {
        cursor.at = at
        tag = cursor.varint(end)
        at = cursor.at
      }
      const number = tag >>> 3
      const step = number < steps.length ? steps[number] : undefined
      if ((tag & 7) === 2) {
        let length = bytes[at] as number
        if (at < end && length < 0x80) at += 1
        else {
          cursor.at = at
          length = cursor.varint(end)
          at = cursor.at
        }
        const fieldEnd = at + length
        if (length < 0 || fieldEnd > end) throw new ProtobufError(`a length of ${length}`, at)
        if (step !== undefined && step.wire === 2) {
          if (this.#take(step, at, fieldEnd) && number === needed) found = true
        }
        at = fieldEnd
        continue
      }
      cursor.at = at
      cursor.skip(tag & 7, end)
      if (step !== undefined && step.wire === 0 && (tag & 7) === 0) {
        this.#copy(number, at, cursor.at)
        if (number === needed) found = true
      }
      at = cursor.at
    }
    return found
  }

  /** @returns whether there was something to take */
  #take(step: Step, start: number, end: number): boolean {
    if (step.act === 'copy') {
      this.#copy(step.number, start, end)
      return end > start
    }
    if (step.act === 'own') {
      if (end === start) return false
      this.#own[2 * step.own] = start
      this.#own[2 * step.own + 1] = end
      if (step.own === namespaceSlot) this.#copy(step.number, start, end)
      return true
    }
    if (step.act === 'alone') {
      this.#isAlone = true
      return true
    }
    if (step.act === 'entry') {
      if (step.keys !== undefined && !this.#isEntryOf(step.keys, start, end)) return false
      this.#copy(step.number, start, end)
      return true
    }
    const before = this.#length
    this.#mark(step.number)
    const found = this.#walk(step.of, step.needs, start, end)
    if (found || step.act === 'inline') this.#mark(endOfMessage)
    else this.#length = before
    return found
  }

  /** Whether a map's entry has one of the keys, or is written in a way that only the decoder can tell. */
  #isEntryOf(keys: readonly Buffer[], start: number, end: number): boolean {
    const { bytes } = this.#cursor
    const length = bytes[start + 1] as number
    if (bytes[start] !== keyTag || length > 0x7f || start + 2 + length > end) return true
    for (const key of keys) {
      if (key.length === length && isAt(bytes, start + 2, key)) return true
    }
    // A key that comes twice counts as it comes last.
    return bytes[start + 2 + length] !== valueTag && start + 2 + length < end
  }

  #mark(byte: number): void {
    if (this.#length + 5 > this.#outline.length) this.#grow(5)
    this.#outline[this.#length++] = byte
  }

  /** Number, length and bytes: no two lists of fields have the same outline. */
  #copy(number: number, start: number, end: number): void {
    const length = end - start
    // With room for the word that the hash ends in.
    if (this.#length + length + 9 > this.#outline.length) this.#grow(length + 9)
    const outline = this.#outline
    const { bytes } = this.#cursor
    let to = this.#length
    outline[to++] = number
    outline[to++] = length
    outline[to++] = length >> 8
    outline[to++] = length >> 16
    outline[to++] = length >> 24
    if (length > longLoop) {
      bytes.copy(outline, to, start, end)
      to += length
    } else {
      for (let at = start; at < end; at += 1) outline[to++] = bytes[at] as number
    }
    this.#length = to
  }

  #grow(by: number): void {
    const larger = Buffer.from(new ArrayBuffer(4 * Math.ceil((this.#outline.length + by) / 2)))
    this.#outline.copy(larger, 0, 0, this.#length)
    this.#outline = larger
    this.#words = new Int32Array(larger.buffer)
  }
}

interface Known<T> {
  readonly outline: Buffer
  readonly value: T | undefined
  /** Another of the same hash. */
  readonly next: Known<T> | undefined
}

/** No field that is named has this number, see {@link compile}. */
const endOfMessage = 0
const slash = 0x2f
const keyTag = (1 << 3) | 2
const valueTag = (2 << 3) | 2
/** From here on a call costs less than a loop. */
const longLoop = 64

function compile(schema: ProtoMessage): readonly (Step | undefined)[] {
  return schema.map((field, number) => {
    if (field === undefined || field.alone === 'only') return undefined
    if (number < 1 || number > 255) throw new RangeError(`field number ${number}`)
    const { kind, of, needs = 0, keys, own, alone } = field
    return {
      number,
      wire: wireOf(kind),
      act: alone === 'makes' ? 'alone' : own === undefined ? actOf(kind) : 'own',
      of: of === undefined ? [] : compile(of),
      needs,
      keys: keys?.map((key) => Buffer.from(key)),
      own: own === undefined ? -1 : ownNames.indexOf(own),
    }
  })
}

function actOf(kind: ProtoKind): Step['act'] {
  if (kind === 'message' || kind === 'inline') return kind
  return kind === 'map' ? 'entry' : 'copy'
}

const stripped = new WeakMap<ProtoMessage, ProtoMessage>()

/** The schema without what objects have of their own, so that no projection can take one object's for all. */
function withoutOwn(schema: ProtoMessage): ProtoMessage {
  const known = stripped.get(schema)
  if (known !== undefined) return known
  const rest = schema.map((field) => {
    if (field?.alone !== undefined) return undefined
    if (field?.own !== undefined && field.own !== 'namespace') return undefined
    return field?.of === undefined ? field : { ...field, of: withoutOwn(field.of) }
  })
  stripped.set(schema, rest)
  return rest
}

function isAt(bytes: Buffer, start: number, text: Buffer): boolean {
  for (let at = 0; at < text.length; at += 1) if (bytes[start + at] !== text[at]) return false
  return true
}
