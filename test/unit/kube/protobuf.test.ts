import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Decoded, WatchEvent } from '../../../src/kube/decoder.ts'
import { ProtobufError, ProtobufReader, type ProtoMessage } from '../../../src/kube/protobuf.ts'
import { protobufDecoder, readProtobufStatus } from '../../../src/kube/protobuf-decoder.ts'
import { podMessage } from '../../../src/kube/protobuf-schemas.ts'
import type { Pod } from '../../../src/kube/types.ts'

const type = 'application/vnd.kubernetes.protobuf'

function varint(value: number | bigint): Buffer {
  const bytes: number[] = []
  let rest = BigInt.asUintN(64, BigInt(value))
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0))
    rest >>= 7n
  } while (rest > 0n)
  return Buffer.from(bytes)
}

const tag = (number: number, wire: number): Buffer => varint(number * 8 + wire)
const bytes = (number: number, value: Buffer | string): Buffer =>
  Buffer.concat([tag(number, 2), varint(Buffer.byteLength(value)), Buffer.from(value)])
const number = (field: number, value: number | bigint): Buffer =>
  Buffer.concat([tag(field, 0), varint(value)])
const wrap = (raw: Buffer): Buffer =>
  Buffer.concat([
    Buffer.from('k8s\0'),
    bytes(1, bytes(1, 'v1')),
    bytes(2, raw),
    bytes(3, ''),
    bytes(4, ''),
  ])

/** Fields that no schema knows, of every wire type. */
const strangers: readonly Buffer[] = [
  number(1000, 7),
  bytes(1001, 'something that came later'),
  Buffer.concat([tag(1002, 1), Buffer.alloc(8, 1)]),
  Buffer.concat([tag(1003, 5), Buffer.alloc(4, 1)]),
]

interface Made {
  readonly namespace: string
  readonly name: string
  readonly images: readonly string[]
  readonly labels: Readonly<Record<string, string>>
}

/** A Pod in protobuf; `order` turns its fields round, which the format allows. */
function podBytes({ namespace, name, images, labels }: Made, order = 0): Buffer {
  const turned = (parts: Buffer[]): Buffer =>
    Buffer.concat([...parts.slice(order % parts.length), ...parts.slice(0, order % parts.length)])
  const metadata = turned([
    bytes(1, name),
    bytes(3, namespace),
    bytes(5, `uid-${name}`),
    bytes(6, '17'),
    ...strangers,
    ...Object.entries(labels).map(([key, value]) =>
      bytes(11, Buffer.concat([bytes(1, key), bytes(2, value)])),
    ),
  ])
  const spec = turned([
    // Among themselves, the values of one repeated field keep their order.
    Buffer.concat(
      images.map((image) =>
        bytes(
          2,
          turned([bytes(1, 'main'), bytes(2, image), bytes(14, 'Always'), bytes(10, 'a probe')]),
        ),
      ),
    ),
    bytes(
      1,
      Buffer.concat([
        bytes(1, 'vol'),
        bytes(2, bytes(30, Buffer.concat([bytes(1, 'volume:1'), bytes(2, '')]))),
      ]),
    ),
    bytes(
      34,
      Buffer.concat([
        bytes(1, Buffer.concat([bytes(1, 'debug'), bytes(2, 'debug:1')])),
        bytes(2, 'main'),
      ]),
    ),
    number(4, 30),
    bytes(22, Buffer.concat([bytes(1, 'k'), number(5, -300)])),
    bytes(15, bytes(1, 'secret')),
  ])
  return turned([bytes(1, metadata), bytes(2, spec), bytes(3, bytes(1, 'Running')), ...strangers])
}

const project = (raw: object): Pod => raw as Pod
const decoder = protobufDecoder(podMessage, project)

const pods = fc.record({
  namespace: fc.string({ minLength: 1, maxLength: 10 }),
  name: fc.string({ unit: 'binary', minLength: 1, maxLength: 10 }),
  images: fc.array(fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }), { maxLength: 4 }),
  labels: fc.dictionary(
    fc.oneof(fc.string({ maxLength: 5 }), fc.constant('__proto__')),
    fc.string({ minLength: 1, maxLength: 5 }),
  ),
})

function expected({ namespace, name, images, labels }: Made): Decoded<object> {
  return {
    key: `${namespace}/${name}`,
    uid: `uid-${name}`,
    resourceVersion: '17',
    value: {
      metadata: {
        name,
        namespace,
        uid: `uid-${name}`,
        resourceVersion: '17',
        ...(Object.keys(labels).length > 0 ? { labels } : {}),
      },
      spec: {
        ...(images.length > 0
          ? {
              containers: images.map((image) => ({
                name: 'main',
                image,
                imagePullPolicy: 'Always',
              })),
            }
          : {}),
        volumes: [{ name: 'vol', image: { reference: 'volume:1' } }],
        ephemeralContainers: [{ name: 'debug', image: 'debug:1', targetContainerName: 'main' }],
        tolerations: [{ key: 'k', tolerationSeconds: -300 }],
        imagePullSecrets: [{ name: 'secret' }],
      },
      status: { phase: 'Running' },
    },
  }
}

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

describe('protobuf', () => {
  test('lists: known fields in any order, unknown ones of any type skipped', () => {
    fc.assert(
      fc.property(fc.array(pods, { maxLength: 4 }), fc.nat(20), (made, order) => {
        const metadata = bytes(1, Buffer.concat([bytes(2, '99'), bytes(3, 'more'), number(4, 5)]))
        const items = made.map((one) => bytes(2, podBytes(one, order)))
        const seen: Decoded<Pod>[] = []
        const page = decoder.readList(type, wrap(Buffer.concat([metadata, ...items])), (object) =>
          seen.push(object),
        )
        assert.deepEqual(page, { resourceVersion: '99', continueToken: 'more' })
        assert.deepEqual(plain(seen), plain(made.map(expected)))
      }),
      { numRuns: 200 },
    )
  })

  test('watches: events from any cuts of the stream', () => {
    fc.assert(
      fc.property(
        fc.array(pods, { minLength: 1, maxLength: 5 }),
        fc.array(fc.integer({ min: 1, max: 700 }), { minLength: 1, maxLength: 10 }),
        (made, cuts) => {
          const frame = (kind: string, object: Buffer): Buffer => {
            const event = Buffer.concat([bytes(1, kind), bytes(2, bytes(1, wrap(object)))])
            const length = Buffer.alloc(4)
            length.writeUInt32BE(event.length)
            return Buffer.concat([length, event])
          }
          const end = bytes(
            12,
            Buffer.concat([bytes(1, 'k8s.io/initial-events-end'), bytes(2, 'true')]),
          )
          const stream = Buffer.concat([
            ...made.map((one, at) =>
              frame(['ADDED', 'MODIFIED', 'DELETED'][at % 3] ?? '', podBytes(one)),
            ),
            frame('BOOKMARK', bytes(1, Buffer.concat([bytes(6, '40'), end]))),
            frame('LATER', Buffer.alloc(0)),
            frame(
              'ERROR',
              Buffer.concat([bytes(3, 'too old'), bytes(4, 'Expired'), number(6, 410)]),
            ),
          ])
          const events: WatchEvent<Pod>[] = []
          const reader = decoder.eventReader(type)
          for (let at = 0, turn = 0; at < stream.length; turn += 1) {
            const length = cuts[turn % cuts.length] ?? 1
            const chunk = Buffer.from(stream.subarray(at, at + length))
            reader.push(chunk, (event) => events.push(event))
            chunk.fill(0xff)
            at += length
          }
          assert.deepEqual(
            plain(events),
            plain([
              ...made.map((one, at) => ({
                type: ['added', 'modified', 'deleted'][at % 3],
                object: expected(one),
              })),
              { type: 'bookmark', resourceVersion: '40', initialEventsEnd: true },
              { type: 'error', status: { message: 'too old', reason: 'Expired', code: 410 } },
            ]),
          )
        },
      ),
      { numRuns: 200 },
    )
  })

  test('cut off anywhere, or with any byte changed, it is an error or another object, and never hangs', () => {
    const whole = wrap(
      Buffer.concat([
        bytes(1, bytes(2, '9')),
        bytes(2, podBytes({ namespace: 'a', name: 'b', images: ['c:1'], labels: { d: 'e' } })),
      ]),
    )
    const read = (body: Buffer): void => {
      try {
        decoder.readList(type, body, () => {})
      } catch (error) {
        assert.ok(error instanceof ProtobufError || error instanceof TypeError, String(error))
      }
    }
    for (let length = 0; length < whole.length; length += 1) read(whole.subarray(0, length))
    for (let at = 0; at < whole.length; at += 1) {
      for (const value of [0, 1, 0x7f, 0x80, 0xff]) {
        const changed = Buffer.from(whole)
        changed[at] = value
        read(changed)
      }
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (noise) =>
        read(Buffer.concat([Buffer.from('k8s\0'), noise])),
      ),
    )
    assert.throws(
      () => decoder.readList(type, whole.subarray(0, whole.length - 10), () => {}),
      ProtobufError,
    )
  })

  test('hostile lengths and numbers', () => {
    const schema: ProtoMessage = [
      undefined,
      { name: 'text', kind: 'string' },
      { name: 'number', kind: 'int' },
    ]
    const read = (body: Buffer) => new ProtobufReader(body).message(schema, 0, body.length)
    for (const length of [2, 2 ** 31, 2 ** 32, 2n ** 63n, -1]) {
      assert.throws(() => read(Buffer.concat([tag(1, 2), varint(length), Buffer.from('x')])), {
        code: 'KIP_KUBE_PROTOBUF',
      })
    }
    assert.throws(() => read(Buffer.concat([tag(2, 0), Buffer.alloc(11, 0xff)])), ProtobufError)
    assert.throws(() => read(Buffer.from([0x0b])), /wire type 3/)
    assert.throws(() => read(Buffer.concat([tag(9, 1), Buffer.alloc(3)])), ProtobufError)
    for (const value of [
      0,
      1,
      127,
      128,
      2 ** 28 - 1,
      2 ** 28,
      2 ** 31,
      2 ** 35,
      Number.MAX_SAFE_INTEGER,
      -1,
      -(2 ** 40),
    ]) {
      assert.deepEqual(read(number(2, value)), { number: value })
    }
    const reader = decoder.eventReader(type)
    assert.throws(
      () => reader.push(Buffer.from([0xff, 0xff, 0xff, 0xff, 0]), () => {}),
      /a frame of/,
    )
    assert.throws(
      () => decoder.readList(type, Buffer.from('{"items":[]}'), () => {}),
      /without its mark/,
    )
  })

  test('a server that answers with JSON is read as JSON', () => {
    const seen: string[] = []
    decoder.readList(
      'application/json',
      Buffer.from('{"items":[{"metadata":{"name":"x"}}]}'),
      ({ key }) => seen.push(key),
    )
    decoder
      .eventReader('application/json')
      .push(Buffer.from('{"type":"ADDED","object":{"metadata":{"name":"y"}}}\n'), (event) =>
        seen.push(event.type),
      )
    assert.deepEqual(seen, ['x', 'added'])
  })

  test('the Status of a refusal', () => {
    const cause = Buffer.concat([
      bytes(1, 'FieldManagerConflict'),
      bytes(2, 'conflict with "x"'),
      bytes(3, '.a'),
    ])
    const body = wrap(
      Buffer.concat([
        bytes(2, 'Failure'),
        bytes(3, 'gone'),
        bytes(4, 'Expired'),
        bytes(5, Buffer.concat([bytes(4, cause), number(5, 3)])),
        number(6, 410),
      ]),
    )
    assert.deepEqual(readProtobufStatus(body), {
      status: 'Failure',
      message: 'gone',
      reason: 'Expired',
      code: 410,
      details: {
        causes: [{ reason: 'FieldManagerConflict', message: 'conflict with "x"', field: '.a' }],
        retryAfterSeconds: 3,
      },
    })
  })
})
