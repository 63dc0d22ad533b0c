import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import type { ImageState, Nodes, Usage } from '../../../src/state/cached-image.ts'
import { newObject, readObject, stanzaObject } from '../../../src/state/object.ts'
import {
  stanzaOf,
  withMirror,
  withNodes,
  withSource,
  withUsage,
} from '../../../src/state/stanzas.ts'
import { digestOf, someMirror, someSource, someUsage } from '../../support/image-store-suite.ts'

const now = Date.parse('2026-02-03T04:05:06Z')
const empty: ImageState = {
  reference: 'docker.io/library/nginx:1.27',
  name: 'nginx-1.27-x',
  requested: false,
  resourceVersion: '7',
  mirrors: [],
  conditions: [],
}
const summaryOf = (stanza: Record<string, unknown>, key: string): unknown =>
  (stanza[key] as { summary?: string } | undefined)?.summary

describe('stanzas', () => {
  const users: [string, Partial<Usage>, string][] = [
    ['one owner', {}, 'shop/web'],
    ['several', { workloads: 4 }, 'shop/web +3'],
    ['the static list', { owners: [], wanted: ['Static'] }, 'IMAGES'],
    ['a request', { owners: [], wanted: ['Requested'] }, 'request'],
    ['nobody any more', { owners: [], lastSeen: '2026-01-01T00:00:00Z' }, 'unused'],
  ]
  for (const [who, change, summary] of users) {
    it(`sums up users: ${who}`, () => {
      const image = withUsage(empty, { ...someUsage, ...change })
      assert.equal(summaryOf(stanzaOf(image, 'kip-discovery'), 'usage'), summary)
    })
  }

  const sizes: [number, string][] = [
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [9_949_999, '9.9 MB'],
    [9_950_000, '10 MB'],
    [999_499_999, '999 MB'],
    [999_500_000, '1.0 GB'],
    [52_000_000_000, '52 GB'],
  ]
  for (const [sizeBytes, summary] of sizes) {
    it(`shows ${sizeBytes} bytes as ${summary}`, () => {
      const image = withSource(empty, { ...someSource, sizeBytes }, now)
      assert.equal(summaryOf(stanzaOf(image, 'kip-resolver'), 'source'), summary)
    })
  }

  const standings: [string, Partial<Nodes>, string][] = [
    ['held everywhere', { cached: 3 }, 'True OnEveryNode: 3 of 3 nodes hold it'],
    ['on its way', { cached: 1, pulling: 2 }, 'Unknown Pulling: 1 of 3 nodes hold it'],
    ['for no node', { desired: 0 }, 'Unknown NoNodes: 0 of 0 nodes hold it'],
    [
      'failing',
      { failed: 3, failures: [{ node: 'n1', reason: 'ErrImagePull', message: '' }] },
      'False ErrImagePull: 0 of 3 nodes hold it, 3 failed',
    ],
    ['left out', { reason: 'NoEtcd' }, 'False NoEtcd: 0 of 3 nodes hold it, others are not asked'],
    [
      'tried in vain',
      { reason: 'CopyNotPulled', failed: 1 },
      'False CopyNotPulled: 0 of 3 nodes hold it, and those that tried its copy failed',
    ],
  ]
  for (const [where, change, text] of standings) {
    it(`says of an image that is ${where}: ${text}`, () => {
      const nodes = { desired: 3, cached: 0, pulling: 0, failed: 0, failures: [], ...change }
      const [condition] = withNodes(empty, nodes, now).conditions
      assert.equal(`${condition?.status} ${condition?.reason}: ${condition?.message}`, text)
    })
  }

  it('gives each manager its own conditions and no other', () => {
    let image = withSource(withUsage(empty, someUsage), someSource, now)
    image = withMirror(image, someMirror, now)
    image = withNodes(image, { desired: 1, cached: 1, pulling: 0, failed: 0, failures: [] }, now)
    const types = (manager: Parameters<typeof stanzaOf>[1]): unknown =>
      (stanzaOf(image, manager).conditions as { type: string }[] | undefined)?.map(
        ({ type }) => type,
      )
    assert.equal(types('kip-discovery'), undefined)
    assert.deepEqual(types('kip-resolver'), ['Resolved'])
    assert.deepEqual(types('kip-mirror'), ['Mirrored'])
    assert.deepEqual(types('kip-puller'), ['Cached'])
  })

  it('keeps an earlier backup beside the present one', () => {
    const before = { ...someMirror, registry: 'old.test', reference: 'old.test/x:1' }
    const image = withMirror(withMirror(empty, before, now), someMirror, now)
    assert.deepEqual(
      image.mirrors.map(({ registry }) => registry),
      ['old.test', someMirror.registry],
    )
  })

  it('reads what it writes', () => {
    let image = withSource(withUsage(empty, someUsage), someSource, now)
    image = withMirror(image, { ...someMirror, state: 'Verified', digest: digestOf('c') }, now)
    image = withNodes(image, { desired: 1, cached: 0, pulling: 1, failed: 0, failures: [] }, now)
    const managers = ['kip-discovery', 'kip-resolver', 'kip-mirror', 'kip-puller'] as const
    const stanzas = managers.map((manager) => stanzaOf(image, manager))
    const conditions = stanzas.flatMap((stanza) => stanza.conditions ?? [])
    const made = newObject(image.name, image.reference)
    const object = {
      ...made,
      metadata: { ...made.metadata, resourceVersion: '7' },
      status: { ...Object.assign({}, ...stanzas), conditions },
    }
    const read = readObject(JSON.parse(JSON.stringify(object)))
    assert.deepEqual({ ...read.image, createdAt: undefined }, { ...image, createdAt: undefined })
  })

  it('has no owner that the API server refuses, whatever its pods call it', () => {
    const crd = parse(
      readFileSync(new URL('../../../deploy/manifests/crd.yaml', import.meta.url), 'utf8'),
    )
    const { status } = crd.spec.versions[0].schema.openAPIV3Schema.properties
    const { owners, summary } = status.properties.usage.properties
    const { kind, name } = owners.items.properties
    const owner = { kind: 'K'.repeat(1000), namespace: 'n'.repeat(63), name: 'w'.repeat(1000) }
    const image = withUsage(empty, { ...someUsage, owners: [owner] })
    assert.equal(image.usage?.owners[0]?.kind.length, kind.maxLength)
    assert.equal(image.usage?.owners[0]?.name.length, name.maxLength)
    const text = summaryOf(stanzaOf(image, 'kip-discovery'), 'usage')
    assert.ok(String(text).length <= summary.maxLength)
    assert.equal(withUsage(image, { ...someUsage, owners: [owner] }), image, 'written once')
  })

  it('cuts the end of the group where the kind of an owner is long', () => {
    const kind = 'MultiClusterObservability.observability.open-cluster-management.io'
    const image = withUsage(empty, { ...someUsage, owners: [{ kind, namespace: 'n', name: 'w' }] })
    assert.equal(
      image.usage?.owners[0]?.kind,
      'MultiClusterObservability.observability.open-cluster-managemen…',
    )
  })

  it('keeps an object below 16 KiB at its very worst', () => {
    const long = (length: number): string => 'é'.repeat(length)
    const reference = `${'h'.repeat(60)}.test/${'r'.repeat(190)}:${'t'.repeat(128)}@${digestOf('d')}`
    const owner = { kind: 'K'.repeat(63), namespace: 'n'.repeat(63), name: 'w'.repeat(253) }
    const date = '2026-01-02T03:04:05.678Z'
    let image = withUsage(
      { ...empty, reference },
      {
        ...someUsage,
        wanted: ['InUse', 'Static', 'Requested'],
        owners: Array.from({ length: 30 }, () => owner),
        lastSeen: date,
      },
    )
    image = withSource(
      image,
      {
        ...someSource,
        state: 'Unreachable',
        platforms: Array.from({ length: 99 }, (_, i) => `linux/${long(80)}${i}`),
        history: Array.from({ length: 99 }, () => ({ digest: digestOf('e'), seenAt: date })),
        message: long(5000),
      },
      now,
    )
    for (let i = 0; i < 9; i++) {
      const mirror = {
        ...someMirror,
        registry: `${i}${'b'.repeat(400)}`,
        reference: `${'b'.repeat(400)}/${reference.slice(0, 300)}`,
        state: 'Failed' as const,
        digest: digestOf('f'),
        worker: 'w'.repeat(300),
        since: date,
        retryAt: date,
        code: 'C'.repeat(64),
        message: long(5000),
      }
      image = withMirror(image, mirror, now)
    }
    const failure = { node: 'n'.repeat(253), reason: 'r'.repeat(64), message: long(5000) }
    const failures = Array.from({ length: 40 }, () => failure)
    image = withNodes(image, { desired: 9, cached: 0, pulling: 0, failed: 9, failures }, now)
    const managers = ['kip-discovery', 'kip-resolver', 'kip-mirror', 'kip-puller'] as const
    const status = managers.map((manager) => stanzaObject(image, manager))
    const bytes = Buffer.byteLength(JSON.stringify([newObject(image.name, reference), ...status]))
    // Managed fields and the rest of the metadata take some 2.5 KiB.
    assert.ok(
      bytes < 16_384 - 2_560,
      `${bytes} bytes: ${status.map((s) => Buffer.byteLength(JSON.stringify(s)))}`,
    )
    assert.ok(image.mirrors.length >= 1)
    assert.equal(image.mirrors.at(-1)?.registry, `8${'b'.repeat(400)}`)
    assert.ok((image.nodes?.failures.length ?? 0) >= 1)
    assert.ok((image.usage?.owners.length ?? 0) >= 5)
  })
})
