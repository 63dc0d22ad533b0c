import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { loadSettings } from '../../../src/config/load.ts'
import type { PullIdentity } from '../../../src/discovery/discovery.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import type { DaemonSet, Secret } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { credentialsFor, readPullSecret } from '../../../src/puller/credentials.ts'
import { createPuller } from '../../../src/puller/puller.ts'
import type { Nodes } from '../../../src/state/cached-image.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import type { ImageStore } from '../../../src/state/store.ts'
import { type FakeKube, type FakeObject, startFakeKube } from '../../support/fake-kube.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { connect, daemonSets, fastClock, mutated, refuse } from './cluster-bridge.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const nodes = { group: '', version: 'v1', plural: 'nodes' }
const secretsIn = (namespace: string) => ({
  group: '',
  version: 'v1',
  plural: 'secrets',
  namespace,
})
const image = 'r.test/team/app:1'
const other = 'r.test/team/other:1'
const { signal } = new AbortController()

describe('images that need credentials', () => {
  let kube: FakeKube
  let cluster: SimulatedCluster
  let store: ImageStore
  let users: Map<string, readonly PullIdentity[]>
  let log: ReturnType<typeof silentLog>
  let disconnect: () => void
  let stops: (() => Promise<void>)[]

  beforeEach(async () => {
    kube = await startFakeKube()
    cluster = new SimulatedCluster(['n1', 'n2'])
    store = createMemoryStore()
    users = new Map([[image, [{ namespace: 'team', secrets: ['login'] }]]])
    log = silentLog()
    disconnect = connect(kube, cluster)
    stops = []
    for (const name of ['n1', 'n2']) putNode(name, 'v1.35.4')
    putSecret('team', 'login', 'first-password')
    await need(image)
  })

  afterEach(async () => {
    for (const stop of stops) await stop()
    disconnect()
    await kube.stop()
    const told = JSON.stringify([log.lines, [...store.list()], kube.list(daemonSets)])
    assert.doesNotMatch(told, /-password/)
  })

  function putNode(name: string, kubeletVersion: string): void {
    const status = { nodeInfo: { kubeletVersion, operatingSystem: 'linux', architecture: 'amd64' } }
    kube.put(nodes, { apiVersion: 'v1', kind: 'Node', metadata: { name }, status } as FakeObject)
  }

  function putSecret(namespace: string, name: string, password: string, host = 'r.test'): void {
    const auths = {
      [host]: { username: 'u', password },
      'else.test': { username: 'e', password },
    }
    const text = Buffer.from(JSON.stringify({ auths })).toString('base64')
    kube.put(secretsIn(namespace), {
      ...{ apiVersion: 'v1', kind: 'Secret', metadata: { name, namespace } },
      ...{ type: 'kubernetes.io/dockerconfigjson', data: { '.dockerconfigjson': text } },
    } as FakeObject)
  }

  async function need(reference: string): Promise<void> {
    const now = new Date().toISOString()
    const counts = { pods: 1, workloads: 1, namespaces: 1, owners: [], firstSeen: now }
    await store.putUsage(reference, { wanted: ['InUse'], ...counts }, signal)
    const state = store.get(reference)
    assert.ok(state)
    await store.putSource(state, { state: 'NeedsCredentials', checkedAt: now }, signal)
  }

  function start(
    env: Readonly<Record<string, string>> = {},
    client = kube.client() as KubeClient,
  ): () => Promise<void> {
    const controller = new AbortController()
    const { settings } = loadSettings({
      argv: [],
      env: {
        ...{ NAMESPACE: 'kip', DAEMONSET_NAME: 'kip', KIP_PULLER_STRATEGY: 'init' },
        ...{ KIP_PULLER_PRIVATE_IMAGES: 'verified', KIP_PULLER_PODS_PER_NODE: '4', ...env },
      },
      readFile: () => '',
    })
    const ended = createPuller({
      ...{ client, store, settings, log, clock: fastClock },
      mapping: createMapping(settings.mirror),
      metrics: createMetrics({ processMetrics: false }),
      pullIdentities: () => users,
    }).run(controller.signal)
    const stop = async (): Promise<void> => {
      controller.abort()
      await ended
      await client.close()
    }
    stops.push(stop)
    return stop
  }

  const shards = (): readonly DaemonSet[] => kube.list(daemonSets) as readonly DaemonSet[]
  const copies = (): readonly Secret[] => kube.list(secretsIn('kip')) as readonly Secret[]
  const nodesOf = (reference: string): Nodes | undefined => store.get(reference)?.nodes
  const contentOf = (copy: Secret | undefined): unknown =>
    JSON.parse(Buffer.from(copy?.data?.['.dockerconfigjson'] ?? '', 'base64').toString())
  const pulledWith = (shard: DaemonSet | undefined): string | undefined =>
    shard?.spec?.template?.spec?.imagePullSecrets?.at(-1)?.name
  const untilHeld = (reference = image): Promise<unknown> =>
    waitUntil('both nodes to hold it', () => nodesOf(reference)?.cached === 2, 10_000)

  /** Until the users' Secrets were read so many times more. */
  async function looks(times: number): Promise<void> {
    const count = (): number =>
      kube.requests.filter(({ path }) => /\/secrets\/(login|own)$/.test(path)).length
    const before = count()
    await waitUntil('more looks', () => count() >= before + times, 20_000)
  }

  it('are pulled with a copy of what fits them, which their DaemonSet owns', async () => {
    start()
    await untilHeld()
    const [shard, ...more] = shards()
    const [copy, ...others] = copies()
    assert.deepEqual([more, others], [[], []])
    assert.equal(shard?.metadata?.name, 'kip-private')
    assert.equal(pulledWith(shard), copy?.metadata?.name)
    assert.equal(copy?.metadata?.ownerReferences?.[0]?.uid, shard?.metadata?.uid)
    assert.deepEqual(contentOf(copy), {
      auths: { 'r.test/team/app': { username: 'u', password: 'first-password' } },
    })
    assert.deepEqual(nodesOf(image), {
      ...{ desired: 2, cached: 2, pulling: 0, failed: 0 },
      failures: [],
    })
  })

  it('are not pulled with what kip itself pulls with, save for the sleep image', async () => {
    const sleepImage = 'corp.test/kip/sleep:1'
    putSecret('kip', 'corp', 'own-password', 'corp.test')
    const backup = { KIP_MIRROR_REGISTRY: 'b.test', KIP_MIRROR_PULL_SECRET: 'kip-backup' }
    start({ ...backup, IMAGE_PULL_SECRETS: 'corp', KIP_IMAGE: sleepImage })
    await untilHeld()
    const [shard] = shards()
    assert.equal(shard?.spec?.template?.spec?.imagePullSecrets?.length, 1)
    const copy = copies().find(({ metadata }) => metadata?.name === pulledWith(shard))
    assert.deepEqual(contentOf(copy), {
      auths: {
        'corp.test/kip/sleep': { username: 'u', password: 'own-password' },
        'r.test/team/app': { username: 'u', password: 'first-password' },
      },
    })
  })

  it('come with all that kip itself may pull the sleep image with, be it that the first fits no more', async () => {
    putSecret('kip', 'old', 'old-password', 'corp.test')
    putSecret('kip', 'new', 'new-password', 'corp.test')
    start({ IMAGE_PULL_SECRETS: 'old;new', KIP_IMAGE: 'corp.test/kip/sleep:1' })
    await untilHeld()
    const [shard] = shards()
    const copy = copies().find(({ metadata }) => metadata?.name === pulledWith(shard))
    const config = readPullSecret(copy ?? assert.fail('no copy'))
    const fitting = credentialsFor('corp.test/kip/sleep:1', config === undefined ? [] : [config])
    const passwords = fitting.map(({ password }) => password)
    assert.deepEqual(passwords.sort(), ['new-password', 'old-password'])
  })

  it('keep their copy where another mutator has their pods name a Secret besides', async () => {
    const append = (json: string): string =>
      json.replace(/"imagePullSecrets":\[(\{[^}]*\})\]/, '"imagePullSecrets":[$1,{"name":"corp"}]')
    start({}, mutated(kube.client(), append))
    await untilHeld()
    const names = (): string =>
      copies()
        .map(({ metadata }) => metadata?.name)
        .join()
    const before = names()
    await looks(4)
    assert.equal(names(), before)
    assert.equal(shards()[0]?.metadata?.generation, 1)
  })

  const alter = (json: string): string =>
    json.replaceAll(`"image":"${image}"`, '"image":"copies.test/app:1"')
  for (const where of ['DaemonSets', 'pods']) {
    it(`are told of where another mutator changes their names in ${where}`, async () => {
      if (where === 'pods') {
        disconnect()
        disconnect = connect(kube, cluster, alter)
        start()
      } else start({}, mutated(kube.client(), alter))
      await waitUntil('the reason', () => nodesOf(image)?.reason === 'Altered', 10_000)
      const writes = (): number => kube.requests.filter(({ method }) => method === 'PATCH').length
      const before = writes()
      await looks(3)
      assert.equal(writes(), before)
      const told = log.lines.filter(({ message }) => message.startsWith('images are not held'))
      assert.deepEqual(
        told.map(({ fields }) => fields),
        [{ images: [image], count: 1, becomes: 'copies.test/app:1' }],
      )
    })
  }

  it('get a new copy under a new name when the password changes, and the old one goes', async () => {
    start()
    await untilHeld()
    const before = copies()[0]?.metadata?.name
    putSecret('team', 'login', 'second-password')
    await waitUntil(
      'the new copy alone',
      () => copies().length === 1 && copies()[0]?.metadata?.name !== before,
      10_000,
    )
    assert.match(JSON.stringify(contentOf(copies()[0])), /second-password/)
    assert.equal(pulledWith(shards()[0]), copies()[0]?.metadata?.name)
    assert.deepEqual(cluster.losses, [])
  })

  it('pile up no copies while the DaemonSet cannot be changed', async () => {
    start()
    await untilHeld()
    kube.fault = ({ method }) =>
      method === 'PATCH' ? { status: 500, reason: 'InternalError' } : undefined
    putSecret('team', 'login', 'second-password')
    await waitUntil('the new copy', () => copies().length === 2, 10_000)
    await looks(4)
    assert.equal(copies().length, 2)
    kube.fault = undefined
    await waitUntil('the new copy alone', () => copies().length === 1, 10_000)
    assert.match(JSON.stringify(contentOf(copies()[0])), /second-password/)
  })

  it('leave no copy behind that a leader made which ended before it changed the DaemonSet', async () => {
    const stop = start()
    await untilHeld()
    kube.fault = ({ method }) =>
      method === 'PATCH' ? { status: 500, reason: 'InternalError' } : undefined
    putSecret('team', 'login', 'second-password')
    await waitUntil('the new copy', () => copies().length === 2, 10_000)
    await stop()
    kube.fault = undefined
    putSecret('team', 'login', 'third-password')
    start()
    await waitUntil('the third alone', () => copies().length === 1, 10_000)
    assert.match(JSON.stringify(contentOf(copies()[0])), /third-password/)
  })

  it('lose neither pods nor copies by a restart', async () => {
    const stop = start()
    await untilHeld()
    const state = () => JSON.stringify([shards()[0]?.metadata?.uid, shards()[0]?.spec, copies()])
    const before = state()
    await stop()
    start()
    // A second image shows that rounds were made.
    users = new Map([...users, [other, [{ namespace: 'team', secrets: [] }]]])
    await need(other)
    await waitUntil('the other to be told', () => nodesOf(other)?.reason !== undefined, 10_000)
    assert.equal(nodesOf(other)?.reason, 'NoCredentials')
    assert.equal(state(), before)
  })

  it('pause where a kubelet refuses their pods, and go on with the same copy', async () => {
    start()
    await untilHeld()
    const [before] = shards()
    const strategy = (): string | undefined => shards()[0]?.spec?.updateStrategy?.type
    refuse(kube, before?.spec?.template, 'n1')
    await waitUntil('the pause', () => strategy() === 'OnDelete', 10_000)
    assert.deepEqual(shards()[0]?.spec?.template, before?.spec?.template)
    await waitUntil('it to go on', () => strategy() === 'RollingUpdate', 20_000)
    assert.equal(copies().length, 1)
    assert.deepEqual(cluster.losses, [])
    const told = (): readonly string[] =>
      log.lines.map(({ message }) => message).filter((text) => /paused|goes on/.test(text))
    await waitUntil('both to be told', () => told().length > 1, 10_000)
    assert.deepEqual(told(), ['kubelets refuse its pods; the shard is paused', 'the shard goes on'])
  })

  it('are put right when somebody edits their DaemonSet', async () => {
    start()
    await untilHeld()
    const [shard] = shards()
    const { spec, metadata } = structuredClone(shard) ?? {}
    const template = {
      ...spec?.template,
      spec: { ...spec?.template?.spec, terminationGracePeriodSeconds: 9 },
    }
    kube.put(daemonSets, {
      ...shard,
      metadata: { ...metadata, generation: (metadata?.generation ?? 0) + 1 },
      spec: { ...spec, template },
    } as FakeObject)
    await waitUntil(
      'its own grace period',
      () => shards()[0]?.spec?.template?.spec?.terminationGracePeriodSeconds === 1,
      20_000,
    )
    assert.deepEqual(shards()[0]?.spec?.template, shard?.spec?.template)
    assert.equal(copies().length, 1)
  })

  it('go with their last user', async () => {
    start()
    await untilHeld()
    users = new Map()
    await waitUntil('the DaemonSet to go', () => shards().length === 0, 10_000)
  })

  it('are let go of when the option is taken back', async () => {
    const stop = start()
    await untilHeld()
    await stop()
    start({ KIP_PULLER_PRIVATE_IMAGES: 'off' })
    await waitUntil('the DaemonSet to go', () => shards().length === 0, 10_000)
  })

  it('are left alone where a kubelet checks nothing', async () => {
    putNode('n2', 'v1.34.1')
    start()
    await waitUntil('the reason', () => nodesOf(image)?.reason === 'NotVerified', 10_000)
    assert.deepEqual([shards(), copies()], [[], []])
    assert.ok(!kube.requests.some(({ path }) => path.includes('/secrets')))
  })

  it('wait where nodes have no pod to spare', async () => {
    start({ KIP_PULLER_PODS_PER_NODE: '3' })
    await waitUntil('the reason', () => nodesOf(image)?.reason === 'NoRoom', 10_000)
    assert.deepEqual([shards(), copies()], [[], []])
  })

  it('stand in two shards when two teams have a login each', async () => {
    putSecret('second', 'own', 'other-password')
    users.set(image, [
      { namespace: 'team', secrets: ['login'] },
      { namespace: 'second', secrets: ['own'] },
    ])
    start({ KIP_PULLER_PODS_PER_NODE: '5' })
    await untilHeld()
    await waitUntil('two shards and copies', () => shards().length === 2 && copies().length === 2)
    assert.equal(new Set(copies().map((copy) => JSON.stringify(contentOf(copy)))).size, 2)
  })

  it('that come one after another go together, on many nodes the more so', async () => {
    // On two of them there are pods; the others count for what a roll-out makes etcd store.
    for (let index = 3; index <= 2000; index++) putNode(`n${index}`, 'v1.35.4')
    start()
    await untilHeld()
    const writes = (): number => shards()[0]?.metadata?.generation ?? 0
    const before = writes()
    for (let index = 1; index <= 12; index++) {
      const reference = `r.test/team/more-${index}:1`
      users.set(reference, [{ namespace: 'team', secrets: ['login'] }])
      await need(reference)
      await looks(1)
    }
    const made = writes() - before
    // One of each would have etcd store three times the 600 MB that it may in ten minutes.
    assert.ok(made >= 1 && made <= 4, `${made} writes`)
  })

  it('that cannot be pulled leave again, and the others keep theirs', async () => {
    start()
    await untilHeld()
    const bad = 'r.test/team/bad:1'
    cluster.behave = (reference) => (reference === bad ? 'missing' : 'good')
    users.set(bad, [{ namespace: 'team', secrets: ['login'] }])
    await need(bad)
    const text = (): string => JSON.stringify(shards()[0]?.spec)
    await waitUntil('it to be asked for', () => text().includes(bad), 10_000)
    await waitUntil('it to be left out', () => !text().includes(bad), 10_000)
    await waitUntil('its status', () => nodesOf(bad)?.failed === 2, 10_000)
    assert.equal(nodesOf(image)?.cached, 2)
    assert.deepEqual(cluster.losses, [])
  })

  describe('of one repository with a login each', () => {
    const second = 'r.test/team/app:2'
    const names = (): readonly string[] => shards().map(({ metadata }) => metadata?.name ?? '')
    const isLost = (reference: string): boolean =>
      cluster.losses.some((loss) => loss.endsWith(` ${reference}`))
    let stop: () => Promise<void>

    beforeEach(async () => {
      putSecret('second', 'own', 'other-password')
      users.set(second, [{ namespace: 'second', secrets: ['own'] }])
      await need(second)
      stop = start({ KIP_PULLER_PODS_PER_NODE: '5' })
      await untilHeld()
      await untilHeld(second)
      assert.deepEqual(names(), ['kip-private', 'kip-private-2'])
    })

    it('stay in their shard when the one before it goes', async () => {
      users.delete(image)
      await waitUntil('the first to go', () => names().join() === 'kip-private-2', 10_000)
      await looks(2)
      assert.deepEqual(names(), ['kip-private-2'])
      assert.ok(!isLost(second))
    })

    it('leave their shard when another one has them on every node', async () => {
      await stop()
      users.delete(image)
      start({ KIP_PULLER_PODS_PER_NODE: '4' })
      await waitUntil('the second to go', () => names().join() === 'kip-private', 10_000)
      await looks(2)
      assert.ok(!isLost(second))
    })
  })

  it('ask for nothing but Secrets that pods name, each by its name', async () => {
    start()
    await untilHeld()
    const asked = kube.requests.filter(
      ({ method, path }) => method === 'GET' && path.includes('/secrets'),
    )
    for (const { path } of asked) {
      assert.match(
        path,
        /^\/api\/v1\/namespaces\/(team\/secrets\/login|kip\/secrets\/kip-private-)/,
      )
    }
  })
})
