/** A controller that is cut off from the API server at any of its writes, and started anew. */
import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { loadSettings } from '../../../src/config/load.ts'
import { putStaticImages } from '../../../src/discovery/static-images.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { createObject, getObject } from '../../../src/kube/apply.ts'
import { Reflector } from '../../../src/kube/reflector.ts'
import type { ResourcePath } from '../../../src/kube/resource.ts'
import type { DaemonSet, KubeObject, Pod } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { fingerprintAnnotation, readDaemonSet } from '../../../src/puller/daemon-set.ts'
import { defaultPace } from '../../../src/puller/pace.ts'
import { createPuller } from '../../../src/puller/puller.ts'
import { type ClusterStore, createClusterStore } from '../../../src/state/cluster-store.ts'
import { ConflictError } from '../../../src/state/store.ts'
import { clusterBed } from '../../support/cluster-bed.ts'
import { type Cut, cuttingClient } from '../../support/cutting-client.ts'
import { fastClock } from '../../support/fast-clock.ts'
import { ownCluster } from '../../support/own-cluster.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { startFakeKubelets } from './fake-kubelets.ts'

// CachedImages are the whole cluster's, and those of other tests would be cached too.
const bed = await clusterBed(await ownCluster())
const { client: admin } = bed
const namespace = 'cut-off'
const daemonSets = { group: 'apps', version: 'v1', plural: 'daemonsets', namespace }
const pods = { group: '', version: 'v1', plural: 'pods', namespace }
const cachedImages = { group: 'images.kip', version: 'v1alpha1', plural: 'cachedimages' }
const nodes = ['cut-n1', 'cut-n2']
const { signal } = new AbortController()
/** What kip takes ten seconds for takes one, and all that the API server and its controllers do fits in between. */
const clock = fastClock(10)
/** Longer than all else takes. */
const pace = { ...defaultPace, removeMs: 25_000 }
const never = Number.POSITIVE_INFINITY

const image = (name: string): string => `origin.test:5000/${name}`
/** The change leads from one to the other and back: of the good images and of the bad ones some come, go, and move on. */
const scenes = {
  first: { good: ['stays:1', 'moves:1', 'goes:1'], bad: ['bad:1', 'bad-too:1'] },
  second: { good: ['stays:1', 'moves:2', 'comes:1', 'comes-too:1'], bad: ['bad:1', 'bad-too:2'] },
} as const
type Scene = keyof typeof scenes
/**
 * Writes at which the controller is cut off; undefined: every one. Whether the last one never arrives, or arrives and its answer
 * does not, the next controller finds as many as arrived: so it is the one there, and the other on the way back.
 */
const sample = process.env.KIP_TEST_LONG === '1' ? undefined : [4, 9, 13]
/** One of each is on every node at any time. */
const protectedImages = [[image('stays:1')], [image('moves:1'), image('moves:2')]]

/** How a cluster looks that has got where it was to get. */
interface Standing {
  /** By DaemonSet: its images, and a hash of all that kip says of it. */
  readonly daemonSets: ReadonlyMap<string, { readonly images: string; readonly hash: string }>
  /** By image: what its status says of nodes. */
  readonly images: ReadonlyMap<string, unknown>
}

/** What happened on the way there. */
interface Course {
  readonly standing: Standing
  /** By DaemonSet: templates that it got. */
  readonly bumps: ReadonlyMap<string, number>
  /** By name: DaemonSets that were made. */
  readonly made: ReadonlyMap<string, number>
  /** Images that a node was without, by what it was without. */
  readonly unheld: readonly string[]
  readonly writes: number
}

describe('a controller that is cut off at a write, and started anew', () => {
  const uncut = new Map<Scene, Course>()
  const cleanup = new AsyncDisposableStack()
  /** The cluster as an onlooker sees it. */
  const daemonSetsSeen: DaemonSet[] = []
  const alive = new Map<string, Pod>()
  const unheld = new Set<string>()
  let present: Reflector<DaemonSet>
  let stored: Reflector<KubeObject>

  before(async () => {
    const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }
    const namespaces = { group: '', version: 'v1', plural: 'namespaces' }
    await createObject(admin, namespaces, object, { signal })
    await waitUntil('the default service account', () =>
      getObject(admin, { ...pods, plural: 'serviceaccounts' }, 'default', { signal }),
    )
    const stopKubelets = await startFakeKubelets({
      ...{ client: admin, namespace, nodes, tickMs: 50 },
      isBad: (reference) => reference.startsWith(image('bad')),
    })
    const onlooker = new AbortController()
    const watch = async <T extends KubeObject>(
      resource: ResourcePath,
      see: (type: string, object: T) => void,
    ): Promise<Reflector<T>> => {
      const reflector = new Reflector<T>({
        ...{ client: admin, resource, log: silentLog() },
        project: (raw) => structuredClone(raw) as T,
        onEvent: ({ type, value }) => see(type, value),
      })
      const running = reflector.run(onlooker.signal)
      cleanup.defer(() => running)
      await reflector.synced
      return reflector
    }
    cleanup.defer(() => bed.close())
    present = await watch<DaemonSet>(daemonSets, (_type, one) => daemonSetsSeen.push(one))
    stored = await watch<KubeObject>(cachedImages, () => undefined)
    await watch<Pod>(pods, (type, pod) => {
      if (type === 'deleted') alive.delete(pod.metadata?.name ?? '')
      else alive.set(pod.metadata?.name ?? '', pod)
      for (const lack of lacks([...alive.values()])) unheld.add(lack)
    })
    cleanup.defer(async () => onlooker.abort())
    cleanup.defer(stopKubelets)
    await courseTo('first', { at: never })
    uncut.set('second', await courseTo('second', { at: never }))
    uncut.set('first', await courseTo('first', { at: never }))
  })

  after(() => cleanup.disposeAsync())

  const standing = (): Standing => ({
    daemonSets: new Map(
      [...present.values()].flatMap((one) => {
        const shard = readDaemonSet(one, 'kip')
        const images = (shard?.members ?? []).map(({ reference }) => reference).sort()
        const hash = one.metadata?.annotations?.[fingerprintAnnotation] ?? ''
        return shard === undefined ? [] : [[shard.name, { images: images.join(' '), hash }]]
      }),
    ),
    images: new Map(
      [...stored.values()].map((one) => {
        const { spec, status } = one as { spec: { reference: string }; status?: { nodes?: object } }
        return [spec.reference, status?.nodes]
      }),
    ),
  })

  const isSettled = (to: Scene): boolean => {
    const { good, bad } = scenes[to]
    const { daemonSets, images } = standing()
    const sorted = (names: readonly string[]): string => names.map(image).sort().join(' ')
    const ready = [...present.values()].every(({ metadata, status }) => {
      const isKnown = status?.observedGeneration === metadata?.generation
      return isKnown && status?.updatedNumberScheduled === nodes.length
    })
    return (
      ready &&
      daemonSets.size === 2 &&
      daemonSets.get('kip')?.images === sorted(good) &&
      daemonSets.get('kip-apart')?.images === sorted(bad) &&
      images.size === good.length + bad.length &&
      good.every((name) => counts(images, name) === `${nodes.length}/0/0`) &&
      bad.every((name) => counts(images, name) === `0/0/${nodes.length}`)
    )
  }

  /** One controller, until its connection is cut or, if that does not happen, until all is where it is to be. */
  async function run(to: Scene, at: number, cut: Cut): Promise<number | undefined> {
    const { good, bad } = scenes[to]
    const { settings } = loadSettings({
      argv: [],
      env: {
        NAMESPACE: namespace,
        DAEMONSET_NAME: 'kip',
        KIP_IMAGE: image('kip-sleep:1'),
        NODE_SELECTOR: JSON.stringify({ 'kip-test/nodes': namespace }),
        // Two versions side by side want a name each, or the second one's depends on whether the first is still there.
        IMAGES: [...good, ...bad].map((one) => `${one.replace(':', '-')}=${image(one)}`).join(';'),
      },
      readFile: () => '',
    })
    const stop = new AbortController()
    const client = cuttingClient({ client: admin, at, cut, onCut: () => stop.abort() })
    const log = silentLog()
    const metrics = createMetrics({ processMetrics: false })
    const store = createClusterStore({ client, log, metrics })
    const mapping = createMapping({ registry: '', mapping: 'path' })
    const puller = createPuller({ client, store, settings, mapping, log, metrics, clock, pace })
    const parts = [
      store.run(stop.signal),
      puller.run(stop.signal),
      wantOnly([...good, ...bad].map(image), store, stop.signal),
    ]
    try {
      const what = `${to}, ${cut} at write ${at}`
      await waitUntil(what, () => stop.signal.aborted || isSettled(to), 60_000)
      return stop.signal.aborted ? undefined : client.writes
    } finally {
      stop.abort()
      await Promise.allSettled(parts)
    }
  }

  /** Makes the change, by a second controller when the first is cut off, and tells what an onlooker saw. */
  async function courseTo(to: Scene, { at, cut = 'unsent' }: { at: number; cut?: Cut }) {
    const before = new Map([...present.values()].map(({ metadata }) => [metadata?.uid, metadata]))
    daemonSetsSeen.length = 0
    unheld.clear()
    const writes = (await run(to, at, cut)) ?? (await run(to, never, cut)) ?? 0
    const bumps = new Map<string, number>()
    const made = new Map<string, number>()
    const newest = new Map(daemonSetsSeen.map(({ metadata }) => [metadata?.uid, metadata]))
    for (const [uid, { name = '', generation = 0 } = {}] of newest) {
      const from = before.get(uid)?.generation
      bumps.set(name, (bumps.get(name) ?? 0) + generation - (from ?? 0))
      if (from === undefined) made.set(name, (made.get(name) ?? 0) + 1)
    }
    return { standing: standing(), bumps, made, unheld: [...unheld], writes } satisfies Course
  }

  const converges = async (to: Scene, at: number, cut: Cut): Promise<void> => {
    const expected = uncut.get(to)
    assert.ok(expected)
    const course = await courseTo(to, { at, cut })
    assert.deepEqual(course.standing, expected.standing)
    assert.deepEqual(course.unheld, [])
    for (const name of ['kip', 'kip-apart']) assert.equal(course.made.get(name), undefined)
    for (const [name, count] of course.made) {
      assert.ok(count <= (expected.made.get(name) ?? 0) + 1, `${count} of ${name}`)
    }
    for (const [name, count] of course.bumps) {
      const most = (expected.bumps.get(name) ?? 0) + 1
      assert.ok(count <= most, `${name}: ${count} templates, at most ${most}`)
    }
  }

  it('converges', async (t) => {
    // How many writes there are is known when the change has been made once without a cut.
    const writes = Math.max(...[...uncut.values()].map((course) => course.writes))
    for (let at = 1; at <= writes; at += 1) {
      if (sample?.includes(at) === false) continue
      await t.test(
        `when write ${at} is unsent, and when it is unanswered on the way back`,
        async () => {
          await converges('second', at, 'unsent')
          await converges('first', at, 'unanswered')
        },
      )
    }
  })
})

/** What discovery does of the static IMAGES: those that are new are put in the store, those that are no more leave it. */
async function wantOnly(
  references: readonly string[],
  store: ClusterStore,
  signal: AbortSignal,
): Promise<void> {
  const images = references.map((image) => ({ image }))
  for (;;) {
    try {
      await putStaticImages(store, images, { signal })
      for (const image of store.list()) {
        if (!references.includes(image.reference)) await store.remove(image, signal)
      }
      return
    } catch (error) {
      if (signal.aborted) return
      // The puller wrote in between.
      if (!(error instanceof ConflictError)) throw error
    }
  }
}

/** Nodes that have an image, that are to get it, and that fail with it. */
function counts(images: Standing['images'], name: string): string {
  const nodes = images.get(image(name)) as Readonly<Record<string, unknown>> | undefined
  return [nodes?.cached, nodes?.pulling, nodes?.failed].join('/')
}

/** Nodes without what they have to have at any time. */
function lacks(pods: readonly Pod[]): readonly string[] {
  return nodes.flatMap((node) =>
    protectedImages
      .filter((names) => !pods.some((pod) => isOn(pod, node) && names.some(startedBy(pod))))
      .map((names) => `${names.join(' or ')} on ${node}`),
  )
}

function isOn({ metadata, spec }: Pod, node: string): boolean {
  return spec?.nodeName === node && metadata?.deletionTimestamp === undefined
}

/** Tells images that a container of a pod was made of, or mounts. */
function startedBy({ spec, status }: Pod): (reference: string) => boolean {
  const started = new Set(
    [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])]
      .filter(({ state }) => state?.running !== undefined || state?.terminated !== undefined)
      .map(({ name }) => name),
  )
  const volumes = new Map((spec?.volumes ?? []).map(({ name, image }) => [name, image?.reference]))
  const held = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])]
    .filter(({ name }) => started.has(name))
    .flatMap(({ image, volumeMounts = [] }) => [
      image,
      ...volumeMounts.map(({ name }) => volumes.get(name)),
    ])
  return (reference) => held.includes(reference)
}
