import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import type { Decoded, WatchEvent } from '../../../src/kube/decoder.ts'
import { ProtobufReader, type ProtoMessage } from '../../../src/kube/protobuf.ts'
import { ProtobufError } from '../../../src/kube/protobuf-cursor.ts'
import { protobufDecoder, readProtobufStatus } from '../../../src/kube/protobuf-decoder.ts'
import { builtInMessages } from '../../../src/kube/protobuf-schemas.ts'
import type { Pod } from '../../../src/kube/types.ts'
import { compactUid } from '../../../src/kube/uid.ts'

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
    bytes(10, 'node-1'),
    // A volume without an image, of a name that no other pod has.
    bytes(1, Buffer.concat([bytes(1, `token-${name}`), bytes(2, bytes(26, 'sources'))])),
    bytes(22, Buffer.concat([bytes(1, 'k'), number(5, -300)])),
    bytes(15, bytes(1, 'secret')),
  ])
  const waiting = bytes(2, bytes(1, bytes(1, 'ErrImagePull')))
  const running = bytes(2, bytes(2, bytes(1, 'since')))
  const status = Buffer.concat([
    bytes(1, 'Pending'),
    bytes(8, Buffer.concat([bytes(1, 'main'), waiting, bytes(7, 'an id')])),
    bytes(8, Buffer.concat([bytes(1, 'second'), running, bytes(7, 'an id')])),
  ])
  return turned([bytes(1, metadata), bytes(2, spec), bytes(3, status), ...strangers])
}

const podMessage = builtInMessages()['/pods'] ?? []
const onFault = (error: unknown): never => assert.fail(String(error))
const decoder = protobufDecoder<object>(podMessage, { project: (raw) => raw, onFault })
/** Decodes what is alike once. */
const alikeDecoder = () =>
  protobufDecoder<object>(podMessage, {
    project: (raw) => raw,
    ofOne: (alike, node) => ({ ...alike, node }),
    onFault,
  })

const pods = fc.record({
  namespace: fc.string({ minLength: 1, maxLength: 10 }),
  name: fc.string({ unit: 'binary', minLength: 1, maxLength: 10 }),
  images: fc.array(fc.string({ unit: 'binary', minLength: 1, maxLength: 300 }), { maxLength: 4 }),
  labels: fc.dictionary(
    fc.oneof(fc.string({ maxLength: 5 }), fc.constant('__proto__')),
    fc.string({ minLength: 1, maxLength: 5 }),
  ),
})

function expected({ namespace, name, images, labels }: Made): Decoded<object> & { value: object } {
  return {
    key: `${namespace}/${name}`,
    uid: compactUid(`uid-${name}`),
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
        ephemeralContainers: [{ name: 'debug', image: 'debug:1' }],
        tolerations: [{ key: 'k', tolerationSeconds: -300 }],
        imagePullSecrets: [{ name: 'secret' }],
        nodeName: 'node-1',
      },
      status: {
        phase: 'Pending',
        containerStatuses: [{ name: 'main', state: { waiting: { reason: 'ErrImagePull' } } }],
      },
    },
  }
}

/** The same with what is its own told apart. */
function expectedAlike(made: Made): Decoded<object> {
  const { key, uid, resourceVersion, value } = expected(made)
  const { metadata, spec, status } = value as {
    metadata: { namespace: string; labels?: object }
    spec: { nodeName?: string }
    status: { phase?: string }
  }
  const { nodeName: node, ...rest } = spec
  const { labels, namespace } = metadata
  const { phase: _phase, ...waiting } = status
  const shared = { metadata: { namespace, ...(labels && { labels }) }, spec: rest, status: waiting }
  return { key, uid, resourceVersion, value: { ...shared, node } }
}

const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

describe('protobuf', () => {
  test('lists: known fields in any order, unknown ones of any type skipped', () => {
    fc.assert(
      fc.property(fc.array(pods, { maxLength: 4 }), fc.nat(20), (made, order) => {
        const metadata = bytes(1, Buffer.concat([bytes(2, '99'), bytes(3, 'more'), number(4, 5)]))
        const items = made.map((one) => bytes(2, podBytes(one, order)))
        const body = wrap(Buffer.concat([metadata, ...items]))
        for (const [how, wanted] of [
          [decoder, made.map(expected)],
          [alikeDecoder(), made.map(expectedAlike)],
        ] as const) {
          // Twice: what was decoded once is remembered.
          for (let times = 0; times < 2; times += 1) {
            const seen: Decoded<object>[] = []
            const page = how.readList(type, body, (object) => seen.push(object))
            assert.deepEqual(page, { resourceVersion: '99', continueToken: 'more' })
            assert.deepEqual(plain(seen), plain(wanted))
          }
        }
      }),
      { numRuns: 200 },
    )
  })

  test('what is alike is projected once, and nothing of one object shows in another', () => {
    let projected = 0
    const keys = { labels: ['flag'], annotations: [] }
    const some = protobufDecoder<{ owner: string; node: string }>(
      builtInMessages(keys)['/pods'] ?? [],
      {
        project: ({ metadata }) => {
          projected += 1
          assert.deepEqual(
            Object.keys(metadata ?? {})
              .sort()
              .slice(-1),
            ['namespace'],
          )
          return { owner: `${metadata?.namespace} ${metadata?.labels?.flag ?? ''}`, node: '' }
        },
        ofOne: (alike, node) => ({ ...alike, node }),
        onFault,
      },
    )
    const made = Array.from({ length: 300 }, (_, at) => ({
      namespace: at % 2 === 0 ? 'even' : 'odd',
      name: `pod-${at}`,
      images: ['web:1'],
      // Of labels that are not read, each pod has its own.
      labels: { hash: `${at}`, ...(at % 3 === 0 ? { flag: 'true' } : {}) },
    }))
    const items = made.map((one) => bytes(2, podBytes(one)))
    const seen: Decoded<{ owner: string; node: string }>[] = []
    some.readList(type, wrap(Buffer.concat(items)), (object) => seen.push(object))
    assert.equal(projected, 4)
    assert.deepEqual(
      seen.map(({ key, uid, value }) => [key, uid, value]),
      made.map(({ namespace, name, labels }) => [
        `${namespace}/${name}`,
        compactUid(`uid-${name}`),
        { owner: `${namespace} ${labels.flag ?? ''}`, node: 'node-1' },
      ]),
    )
  })

  test('a pod that is being deleted is read by itself, with all that is its own', () => {
    const made = { namespace: 'a', name: 'b', images: ['c:1'], labels: {} }
    const whole = podBytes(made)
    const leaving = Buffer.concat([
      whole,
      bytes(
        1,
        Buffer.concat([
          ...[bytes(1, 'b'), bytes(3, 'a'), bytes(5, 'uid-b'), bytes(6, '18')],
          ...[bytes(8, number(1, 86_400)), bytes(9, number(1, 172_800)), number(10, 30)],
        ]),
      ),
    ])
    const seen: object[] = []
    const items = [whole, leaving, whole].map((one) => bytes(2, one))
    alikeDecoder().readList(type, wrap(Buffer.concat(items)), ({ value = {} }) => seen.push(value))
    const { metadata, status } = seen[1] as Pod
    assert.deepEqual(plain(metadata), {
      ...{ name: 'b', namespace: 'a', uid: 'uid-b', resourceVersion: '18' },
      creationTimestamp: '1970-01-02T00:00:00Z',
      deletionTimestamp: '1970-01-03T00:00:00Z',
      deletionGracePeriodSeconds: 30,
    })
    assert.equal(status?.phase, 'Pending')
    assert.deepEqual(seen[0], seen[2])
    assert.deepEqual((seen[0] as Pod).metadata, { namespace: 'a' })
  })

  test('one odd object is told of and left out, whether it is odd by itself or like many', () => {
    const told: unknown[] = []
    const some = protobufDecoder<string>(podMessage, {
      project: ({ metadata }) => {
        if (metadata?.labels?.odd === 'all') throw new Error('odd')
        return metadata?.labels?.odd ?? ''
      },
      ofOne: (alike) => {
        if (alike === 'one') throw new Error('odd')
        return alike
      },
      onFault: (_error, object) => told.push(object.name),
    })
    const items = ['all', 'one', 'none'].map((odd) =>
      bytes(2, podBytes({ namespace: 'a', name: odd, images: [], labels: { odd } })),
    )
    const seen: unknown[] = []
    some.readList(type, wrap(Buffer.concat(items)), ({ value }) => seen.push(value))
    assert.deepEqual(seen, [undefined, undefined, 'none'])
    assert.deepEqual(told, ['all', 'one'])
  })

  test('an outline longer than any buffer, and one too long to remember', () => {
    const images = Array.from({ length: 60 }, (_, at) => `${at}${'x'.repeat(200)}`)
    const huge = { ...{ namespace: 'a', name: 'b', images }, labels: { l: 'y'.repeat(70_000) } }
    const alike = alikeDecoder()
    for (const made of [{ ...huge, labels: {} }, huge, { ...huge, labels: {} }]) {
      const seen: Decoded<object>[] = []
      alike.readList(type, wrap(bytes(2, podBytes(made))), (object) => seen.push(object))
      assert.deepEqual(plain(seen), plain([expectedAlike(made)]))
    }
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
          const events: WatchEvent<object>[] = []
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

  test('watches: an object that outgrows, piece by piece, what is held of it', () => {
    const large = { namespace: 'a', name: 'b', images: [], labels: { l: 'y'.repeat(300_000) } }
    const event = Buffer.concat([bytes(1, 'ADDED'), bytes(2, bytes(1, wrap(podBytes(large))))])
    const length = Buffer.alloc(4)
    length.writeUInt32BE(event.length)
    const stream = Buffer.concat([length, event])
    const events: WatchEvent<object>[] = []
    const reader = decoder.eventReader(type)
    for (let at = 0; at < stream.length; at += 16_384)
      reader.push(stream.subarray(at, at + 16_384), (one) => events.push(one))
    assert.deepEqual(plain(events), plain([{ type: 'added', object: expected(large) }]))
  })

  test('cut off anywhere, or with any byte changed, it is an error or another object, and never hangs', () => {
    const whole = wrap(
      Buffer.concat([
        bytes(1, bytes(2, '9')),
        bytes(2, podBytes({ namespace: 'a', name: 'b', images: ['c:1'], labels: { d: 'e' } })),
      ]),
    )
    const alike = alikeDecoder()
    const seenBy = (how: typeof decoder, body: Buffer): string => {
      const seen: unknown[] = []
      try {
        how.readList(type, body, ({ key, uid, resourceVersion }) =>
          seen.push([key, uid, resourceVersion]),
        )
      } catch (error) {
        assert.ok(error instanceof ProtobufError || error instanceof TypeError, String(error))
        return error.name
      }
      return JSON.stringify(seen)
    }
    const read = (body: Buffer): void =>
      assert.equal(seenBy(alike, body), seenBy(decoder, body), 'both readers see the same')
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
