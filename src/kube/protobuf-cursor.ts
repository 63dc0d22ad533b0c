/** Bytes that are no protobuf message, or one that was cut off. */
export class ProtobufError extends Error {
  readonly code = 'KIP_KUBE_PROTOBUF'
  constructor(message: string, at: number) {
    super(`protobuf: ${message} at byte ${at}`)
    this.name = 'ProtobufError'
  }
}

/**
 * A place in protobuf's wire format. Nothing is read past the `end` that is given, and no length is believed beyond it.
 *
 * @see https://protobuf.dev/programming-guides/encoding/
 */
export class ProtobufCursor {
  bytes: Buffer
  at: number

  constructor(bytes: Buffer, at = 0) {
    this.bytes = bytes
    this.at = at
  }

  /** At most ten bytes; exact up to 2^53, and for the negative numbers of int32 and int64 that JSON can bear. */
  varint(end: number): number {
    const { at } = this
    const byte = this.bytes[at] as number
    if (at < end && byte < 0x80) {
      this.at = at + 1
      return byte
    }
    return this.#longVarint(end)
  }

  /** Reads a length and gives the offset where what follows it ends. */
  length(end: number): number {
    const length = this.varint(end)
    if (length < 0 || length > end - this.at)
      throw new ProtobufError(`a length of ${length}`, this.at)
    return this.at + length
  }

  /** Passes over a value of that wire type. */
  skip(wire: number, end: number): void {
    if (wire === 2) this.at = this.length(end)
    else if (wire === 0) this.varint(end)
    else if (wire === 1) this.at += 8
    else if (wire === 5) this.at += 4
    else throw new ProtobufError(`wire type ${wire}`, this.at)
    if (this.at > end) throw new ProtobufError('a field past the end of its message', this.at)
  }

  #longVarint(end: number): number {
    const { bytes } = this
    let { at } = this
    let low = 0
    let shift = 0
    for (; shift < 28; shift += 7) {
      if (at >= end) throw new ProtobufError('cut off', at)
      const byte = bytes[at++] as number
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) {
        this.at = at
        return low
      }
    }
    let value = BigInt(low)
    for (; shift < 70; shift += 7) {
      if (at >= end) throw new ProtobufError('cut off', at)
      const byte = bytes[at++] as number
      value |= BigInt(byte & 0x7f) << BigInt(shift)
      if (byte < 0x80) {
        this.at = at
        return Number(BigInt.asIntN(64, value))
      }
    }
    throw new ProtobufError('a number without end', at)
  }
}
