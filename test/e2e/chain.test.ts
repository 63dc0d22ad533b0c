/** The whole chain as users run it: kip in two pods under its roles, on two nodes, beside real registries. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { readCertificate } from '../../certs/pem.ts'
import type { WhyReport } from '../../src/cli/why/report.ts'
import { testImages } from '../cluster/images/catalogue.ts'
import { pushTestImages } from '../cluster/images/fill.ts'
import { tinyImage } from '../cluster/images/tiny.ts'
import { type Cluster, eventually } from '../cluster/index.ts'
import { sleepProgram } from '../cluster/sleep-program.ts'
import { agedIdentity } from '../support/aged-identity.ts'
import { type CachedImageObject, readCachedImages } from '../support/cached-images.ts'
import { acquireCluster, noNodes } from '../support/cluster.ts'
import { deployKip, kipNamespace, kipRolledOut, removeKip } from '../support/kip.ts'
import { admissionSuite } from './admission-suite.ts'

/** Namespaces of another policy than the default. */
const policies = { never: 'policy-never', failover: 'policy-failover' } as const

const skip = noNodes()
const cluster = skip === false ? await acquireCluster({ nodes: 2 }) : undefined
const report = (line: string) => void process.stderr.write(`${line}\n`)

describe('kip on a real cluster', { skip }, () => {
  if (cluster !== undefined) suite(cluster)
})

function suite(cluster: Cluster): void {
  const { origin, backup } = cluster.registries
  const image = (name: string, tag = '1') => `${origin.host}/${name}:${tag}`
  const copyOf = (reference: string) =>
    `${backup.host}/mirror/${reference.replace(/^([^/:]+):(\d+)\//, '$1_$2/')}`
  const added: string[] = []
  let firstAuthority = ''
  const nodes = () => cluster.nodes.map(({ name }) => name)

  before(async () => {
    const program = await sleepProgram({ report })
    await pushTestImages(origin, await testImages({ sleepProgram: program, report }))
    await origin.push(tinyImage(1), 'static', '1')
    await origin.push(tinyImage(2), 'system', '1')
    await origin.push(tinyImage(3), 'flagged', '1')
    await origin.push(tinyImage(4), 'late', '1')
    await apply(cluster, workloads(image))
    const identity = await agedIdentity(kipNamespace)
    firstAuthority = readCertificate(
      Buffer.from(identity.data?.['ca.crt'] ?? '', 'base64').toString(),
      'authority',
    ).subject
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: kipNamespace } }
    await apply(cluster, [namespace, identity])
    await deployKip(cluster, {
      report,
      config: {
        KIP_MIRROR_REGISTRY: `${backup.host}/mirror`,
        IMAGES: `static=${image('static')};broken;bad=${image('no-such-image')}`,
        KIP_LOG_LEVEL: 'debug',
        // 18 s: the loss of an image at its origin is to be noticed.
        KIP_PULLER_INTERVAL_HOURS: '0.005',
        KIP_ADMISSION_RULES: JSON.stringify([
          { namespaces: [policies.never], rewrite: 'never' },
          { namespaces: [policies.failover], rewrite: 'failover' },
        ]),
      },
    })
  })

  after(async () => {
    await removeKip(cluster)
    for (const node of added) await cluster.removeNode(node)
    await cluster.kubectl([
      'delete',
      'namespace',
      'shop',
      'quiet',
      policies.failover,
      '--ignore-not-found',
      '--wait=false',
    ])
  })

  // Deployment at zero, StatefulSet at zero, a CronJob that never ran, init container, image volume.
  const inUse = [
    'nginx',
    'scratch',
    'docker',
    'docker-list',
    'zstd',
    'multi-platform',
    'content',
    'busybox',
  ].map((name) => image(name))
  const redis = image('redis', '7')

  it('finds the images of every kind and place, and none of excluded or flagged namespaces', async () => {
    const wanted = [...inUse, redis, image('static'), image('no-such-image')]
    const found = await eventually(
      'CachedImage of every image in use',
      async () => {
        const images = await readCachedImages(cluster)
        const references = images.map(({ spec }) => spec.reference)
        return wanted.every((reference) => references.includes(reference)) && references
      },
      { timeoutMs: 60_000 },
    )
    assert.ok(!found.includes(image('system')), 'kube-system is left out')
    assert.ok(!found.includes(image('flagged')), 'a flagged namespace is left out')
    assert.ok(!found.some((reference) => reference.includes('/kip')), "kip's own are left out")
  })

  it('follows the flag of a namespace live, off and on', async () => {
    await cluster.kubectl(['label', 'namespace', 'quiet', 'images.kip/ignore-'])
    await eventually(
      'image of a namespace that is no longer flagged',
      () => known(image('flagged')),
      {
        timeoutMs: 20_000,
      },
    )
    await cluster.kubectl(['label', 'namespace', 'quiet', 'images.kip/ignore=true'])
    await eventually(
      'image of a flagged namespace to be forgotten',
      async () => !(await known(image('flagged')))?.status?.usage?.wanted?.length,
      { timeoutMs: 20_000 },
    )
  })

  it('writes each stanza of the state under a manager of its own', async () => {
    const found = await eventually(
      'all four stanzas',
      async () => {
        const one = await known(image('nginx'))
        const managers = new Set(one?.metadata.managedFields?.map(({ manager }) => manager))
        const all = ['kip-discovery', 'kip-resolver', 'kip-mirror', 'kip-puller']
        return all.every((manager) => managers.has(manager)) && one
      },
      { timeoutMs: 90_000 },
    )
    assert.equal(found.status?.source?.state, 'Available')
    assert.equal(found.status?.source?.digest, await origin.digest('nginx', '1'))
    assert.deepEqual(
      found.status?.usage?.owners?.map(({ kind, name }) => `${kind}/${name}`),
      ['Deployment/web'],
    )
  })

  it('copies every image byte for byte: all platforms, every format, digests kept', async () => {
    for (const reference of [...inUse, redis]) {
      const { repository, tag } = split(reference)
      const digest = await origin.digest(repository, tag)
      const copy = split(copyOf(reference))
      await eventually(
        `copy of ${reference}`,
        async () => (await backup.digest(copy.repository, tag)) === digest,
        { timeoutMs: 90_000 },
      )
      const [source, target] = await Promise.all([
        origin.client.manifest(repository, tag),
        backup.client.manifest(copy.repository, tag),
      ])
      assert.deepEqual(target?.bytes, source?.bytes, reference)
    }
  })

  it('says of an image that is nowhere that it is missing, and mirrors the others', async () => {
    const missing = await eventually(
      'state of the missing image',
      async () => {
        const one = await known(image('no-such-image'))
        return one?.status?.source?.state === 'Missing' && one
      },
      { timeoutMs: 60_000 },
    )
    assert.equal(missing.status?.mirrors?.[0]?.digest, undefined)
  })

  it('has every node hold every image before a pod asks, scratch images too, whatever one bad image does', async () => {
    const names = [...inUse, redis].map((reference) => copyOf(reference))
    for (const node of nodes())
      await eventually(
        `images on ${node}`,
        async () => {
          const held = await cluster.imagesOn(node)
          const missing = names.filter((name) => !held.some((entry) => holds(entry, name)))
          if (missing.length > 0) throw new Error(`${node} lacks ${missing.join(', ')}`)
          return held.some(
            (entry) => holds(entry, image('static')) || holds(entry, copyOf(image('static'))),
          )
        },
        { timeoutMs: 180_000, everyMs: 1_000 },
      )
    const pods = await list(cluster, ['get', 'pods', '-n', 'shop'])
    assert.ok(
      !pods.some(({ metadata }) => metadata.name.startsWith('nightly')),
      'the CronJob never ran, and its image is there',
    )
    const bad = await eventually(
      'failure of the bad image',
      async () => {
        const one = await known(image('no-such-image'))
        return (one?.status?.nodes?.failed ?? 0) === nodes().length && one
      },
      { timeoutMs: 120_000, everyMs: 1_000 },
    )
    assert.ok((bad.status?.nodes?.failures?.length ?? 0) > 0)
  })

  it('tells in its own pod, by its own rights, why an image is where it is', async () => {
    const kip = ['exec', '-n', kipNamespace, 'deployment/kubernetes-image-puller', '--']
    const why = async (subject: string): Promise<WhyReport> =>
      JSON.parse(
        await cluster.kubectl([
          ...[...kip, '/usr/local/bin/node', '/kip/main.js'],
          ...['why', subject, '--output', 'json'],
        ]),
      )
    const { images, notes } = await eventually('all is well', () => why(image('nginx')), {
      timeoutMs: 180_000,
      everyMs: 1_000,
    })
    assert.deepEqual(notes, [])
    assert.deepEqual(
      images.map(({ reference, newPods }) => [reference, newPods.map(({ code }) => code)]),
      [[image('nginx'), ['Rewritten']]],
    )
    await assert.rejects(why(image('no-such-image')), /exit code 1/)
  })

  it('starts new pods from the verified copy, and leaves flagged namespaces alone', async () => {
    await eventually(
      'webhook configuration',
      async () =>
        (await cluster.kubectl(['get', 'mutatingwebhookconfiguration', 'kip', '-o', 'name'])) !==
        '',
      { timeoutMs: 60_000 },
    )
    const digest = await backup.digest(split(copyOf(image('busybox'))).repository, '1')
    const pod = await eventually(
      'rewritten pod',
      async () => {
        await cluster.kubectl([
          'delete',
          'pod',
          'fresh',
          '-n',
          'shop',
          '--ignore-not-found',
          '--now',
        ])
        await apply(cluster, [podOf('shop', 'fresh', image('busybox'))])
        const [one] = await list(cluster, [
          'get',
          'pods',
          '-n',
          'shop',
          '--field-selector=metadata.name=fresh',
        ])
        return one?.spec.containers[0]?.image.startsWith(backup.host) && one
      },
      { timeoutMs: 30_000, everyMs: 1_000 },
    )
    assert.equal(pod.spec.containers[0]?.image, `${copyOf(image('busybox'))}@${digest}`)
    assert.deepEqual(JSON.parse(pod.metadata.annotations?.['images.kip/original-images'] ?? '{}'), {
      main: image('busybox'),
    })
    await cluster.kubectl(
      ['wait', '-n', 'shop', '--for=condition=Ready', 'pod/fresh', '--timeout=60s'],
      {
        timeoutMs: 70_000,
      },
    )
    await apply(cluster, [podOf('quiet', 'left-alone', image('busybox'))])
    const [left] = await list(cluster, [
      'get',
      'pods',
      '-n',
      'quiet',
      '--field-selector=metadata.name=left-alone',
    ])
    assert.equal(left?.spec.containers[0]?.image, image('busybox'))
  })

  it('maps the copy that a pod names back to its source, and never mirrors a copy', async () => {
    const references = (await readCachedImages(cluster)).map(({ spec }) => spec.reference)
    assert.deepEqual(
      references.filter((reference) => reference.startsWith(backup.host)),
      [],
    )
    const nested = (await backup.client.repositories()).filter((name) =>
      name.includes('backup.test'),
    )
    assert.deepEqual(nested, [])
  })

  describe('its webhook', () =>
    admissionSuite({
      ...{ cluster, namespace: 'shop', image, copyOf, policies },
      firstAuthority: () => firstAuthority,
    }))

  it('takes over when the leader is killed, and touches no DaemonSet', async () => {
    const before = await daemonSets()
    const leader = await holder()
    await cluster.kubectl([
      '-n',
      kipNamespace,
      'delete',
      'pod',
      leader,
      '--grace-period=0',
      '--force',
    ])
    const next = await eventually(
      'another leader',
      async () => {
        const now = await holder()
        return now !== leader && now
      },
      { timeoutMs: 40_000 },
    )
    assert.notEqual(next, leader)
    await apply(cluster, [podOf('shop', 'late', image('late'))])
    await eventually('image that is new to the new leader', () => known(image('late')), {
      timeoutMs: 30_000,
    })
    const after = await daemonSets()
    for (const [name, generation] of before)
      if (name === 'kubernetes-image-puller') assert.equal(after.get(name), generation, name)
  })

  it('lets pods start with their own image when all of kip is gone', async () => {
    await cluster.kubectl([
      '-n',
      kipNamespace,
      'scale',
      'deployment/kubernetes-image-puller',
      '--replicas=0',
    ])
    await eventually(
      'end of kip',
      async () =>
        (
          await list(cluster, [
            'get',
            'pods',
            '-n',
            kipNamespace,
            '-l',
            'app=kubernetes-image-puller',
          ])
        ).length === 0,
      { timeoutMs: 60_000 },
    )
    await apply(cluster, [podOf('shop', 'orphan', image('busybox'))])
    const [pod] = await list(cluster, [
      'get',
      'pods',
      '-n',
      'shop',
      '--field-selector=metadata.name=orphan',
    ])
    assert.equal(pod?.spec.containers[0]?.image, image('busybox'))
    await cluster.kubectl(
      ['wait', '-n', 'shop', '--for=condition=Ready', 'pod/orphan', '--timeout=60s'],
      {
        timeoutMs: 70_000,
      },
    )
    await cluster.kubectl([
      '-n',
      kipNamespace,
      'scale',
      'deployment/kubernetes-image-puller',
      '--replicas=2',
    ])
    await kipRolledOut(cluster)
  })

  it('starts a pod on an empty new node from the backup after the image was deleted from its origin', async () => {
    await origin.deleteImage('nginx', '1')
    assert.equal(await origin.digest('nginx', '1'), undefined)
    const node = await cluster.addNode()
    added.push(node.name)
    const mark = await backup.accessLogEnd()
    const pod = podOf('shop', 'survivor', image('nginx'))
    await apply(cluster, [
      {
        ...pod,
        spec: {
          ...pod.spec,
          nodeName: node.name,
          containers: [{ name: 'main', image: image('nginx') }],
        },
      },
    ])
    await cluster.kubectl(
      ['wait', '-n', 'shop', '--for=condition=Ready', 'pod/survivor', '--timeout=90s'],
      {
        timeoutMs: 100_000,
      },
    )
    const requests = await backup.accessLog(mark)
    const repository = split(copyOf(image('nginx'))).repository
    assert.ok(
      requests.some(
        ({ method, path, remoteAddress }) =>
          method === 'GET' &&
          path.startsWith(`/v2/${repository}/blobs/`) &&
          remoteAddress === node.address,
      ),
      'the new node took the bytes from the backup',
    )
  })

  it('points a namespace under failover at the copy once the origin has lost the image', async () => {
    await apply(cluster, [
      { apiVersion: 'v1', kind: 'Namespace', metadata: { name: policies.failover } },
    ])
    const created = await eventually(
      'pod that fails over',
      async () => {
        const text = await cluster.kubectl(
          ['create', '--dry-run=server', '-o', 'jsonpath={.spec.containers[0].image}', '-f', '-'],
          { input: JSON.stringify(podOf(policies.failover, 'tried', image('nginx'))) },
        )
        return text !== image('nginx') && text
      },
      { timeoutMs: 60_000, everyMs: 1_000 },
    )
    assert.ok(created.startsWith(copyOf(image('nginx'))))
  })

  async function known(reference: string): Promise<CachedImageObject | undefined> {
    return (await readCachedImages(cluster)).find(({ spec }) => spec.reference === reference)
  }

  async function holder(): Promise<string> {
    const identity = await cluster.kubectl([
      ...['-n', kipNamespace, 'get', 'lease', 'kip', '-o', 'jsonpath={.spec.holderIdentity}'],
    ])
    return identity.split('_')[0] ?? ''
  }

  async function daemonSets(): Promise<ReadonlyMap<string, number>> {
    const sets = await list(cluster, ['get', 'daemonsets', '-n', kipNamespace])
    return new Map(sets.map(({ metadata }) => [metadata.name, metadata.generation ?? 0]))
  }
}

/** containerd lists a pod's image by tag, by digest, or both; a name with a digest is looked up by the digest. */
function holds(entry: string, reference: string): boolean {
  const repository = reference.replace(/:[^:/]+$/, '')
  return (
    entry === reference || entry.startsWith(`${reference}@`) || entry.startsWith(`${repository}@`)
  )
}

function split(reference: string): { repository: string; tag: string } {
  const [, repository = '', tag = ''] = /^[^/]+\/(.+):([^:]+)$/.exec(reference) ?? []
  return { repository, tag }
}

interface Item {
  readonly metadata: {
    readonly name: string
    readonly generation?: number
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly spec: { readonly containers: readonly { readonly image: string }[] }
}

async function list(cluster: Cluster, args: readonly string[]): Promise<readonly Item[]> {
  return (JSON.parse(await cluster.kubectl([...args, '-o', 'json'])) as { items: readonly Item[] })
    .items
}

async function apply(cluster: Cluster, objects: readonly object[]): Promise<void> {
  const input = JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects })
  await cluster.kubectl(['apply', '-f', '-'], { input })
}

function podOf(namespace: string, name: string, image: string) {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace },
    spec: {
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: 'main',
          image,
          ...(image.includes('busybox') ? { command: ['sleep', '3600'] } : {}),
        },
      ],
    },
  }
}

/** Workloads that use each image in another way. */
function workloads(image: (name: string, tag?: string) => string): readonly object[] {
  const template = (name: string, spec: object) => ({
    metadata: { labels: { app: name } },
    spec: { terminationGracePeriodSeconds: 0, ...spec },
  })
  const one = (reference: string) => ({ containers: [{ name: 'main', image: reference }] })
  const scaled = (kind: string, name: string, spec: object, replicas: number) => ({
    apiVersion: 'apps/v1',
    kind,
    metadata: { name, namespace: 'shop' },
    spec: { replicas, selector: { matchLabels: { app: name } }, template: template(name, spec) },
  })
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } },
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'quiet', labels: { 'images.kip/ignore': 'true' } },
    },
    scaled('Deployment', 'web', one(image('nginx')), 0),
    scaled(
      'Deployment',
      'formats',
      {
        containers: ['docker', 'docker-list', 'zstd', 'multi-platform'].map((name) => ({
          name,
          image: image(name),
        })),
      },
      0,
    ),
    {
      ...scaled('StatefulSet', 'data', one(image('redis', '7')), 0),
      spec: {
        ...scaled('StatefulSet', 'data', one(image('redis', '7')), 0).spec,
        serviceName: 'data',
      },
    },
    {
      apiVersion: 'batch/v1',
      kind: 'CronJob',
      metadata: { name: 'nightly', namespace: 'shop' },
      spec: {
        schedule: '0 3 1 1 *',
        jobTemplate: {
          spec: { template: { spec: { restartPolicy: 'Never', ...one(image('scratch')) } } },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'places', namespace: 'shop' },
      spec: {
        terminationGracePeriodSeconds: 0,
        initContainers: [{ name: 'init', image: image('busybox'), command: ['true'] }],
        containers: [
          {
            name: 'main',
            image: image('busybox'),
            command: ['sleep', '3600'],
            volumeMounts: [{ name: 'content', mountPath: '/content' }],
          },
        ],
        volumes: [{ name: 'content', image: { reference: image('content') } }],
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'system', namespace: 'kube-system' },
      spec: {
        replicas: 0,
        selector: { matchLabels: { app: 'system' } },
        template: template('system', one(image('system'))),
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'flagged', namespace: 'quiet' },
      spec: {
        replicas: 0,
        selector: { matchLabels: { app: 'flagged' } },
        template: template('flagged', one(image('flagged'))),
      },
    },
  ]
}
