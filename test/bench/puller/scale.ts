import { createObject } from '../../../src/kube/apply.ts'
import { Reflector } from '../../../src/kube/reflector.ts'
import type { DaemonSet, KubeObject } from '../../../src/kube/types.ts'
import { eventually } from '../../cluster/index.ts'
import { silentLog } from '../../support/silent-log.ts'
import { type Case, OURS } from '../harness/case.ts'
import type { Measurement } from '../harness/measurement.ts'
import { usageOf } from '../harness/process-usage.ts'
import type { ScaleWorld } from './scale-world.ts'

/** As many as come with a release of a large product. */
const added = 20
const patienceMs = 900_000
const mib = 2 ** 20

export const scaleCases: readonly Case<ScaleWorld>[] = [
  {
    name: 'scale',
    title: '2,000 images on 1,000 fake nodes: the last 20, from their CachedImages to the nodes',
    contenders: async (world) => [
      { name: OURS, run: (_round, signal) => changeAtScale(world, signal) },
    ],
    goals: [
      { kind: 'bound', figure: 'wallMs', of: OURS, atMost: 10_000 },
      { kind: 'bound', figure: 'behindMs', of: OURS, atMost: 10_000 },
      { kind: 'bound', figure: 'storedBytes', of: OURS, atMost: 400 },
      { kind: 'bound', figure: 'writtenMib', of: OURS, atMost: 800e6 / mib },
      { kind: 'bound', figure: 'etcdMib', of: OURS, atMost: 2048 },
    ],
    mostRounds: 1,
  },
]

interface Cached {
  readonly reference: string
  readonly cached: number
}

const cachedImages = { group: 'images.kip', version: 'v1alpha1', plural: 'cachedimages' }

/**
 * A leader starts in a cluster that is full, and is asked for more images.
 *
 * @returns the time from the images' being wanted to the last DaemonSet that asks the nodes for them (wall); how far their
 *   status was behind the DaemonSet controller's own counts; what etcd had to store; and the leader's CPU and memory in all
 */
async function changeAtScale(world: ScaleWorld, signal: AbortSignal): Promise<Measurement> {
  const { client, etcd, nodes, images } = world
  await using cleanup = new AsyncDisposableStack()
  const watching = new AbortController()
  const cached = new Map<string, number>()
  const watch = new Reflector<Cached>({
    ...{ client, resource: cachedImages, log: silentLog() },
    project: cachedOf,
    onEvent: ({ type, value }) => {
      if (type !== 'deleted') cached.set(value.reference, value.cached)
    },
  })
  const ended = watch.run(AbortSignal.any([signal, watching.signal]))
  cleanup.defer(async () => {
    watching.abort()
    await ended
  })
  const until = (what: string, check: () => boolean): Promise<unknown> =>
    eventually(what, async () => check(), { timeoutMs: patienceMs, everyMs: 100, signal })
  const areCached = (references: readonly string[]): boolean =>
    references.every((reference) => cached.get(reference) === nodes)
  const say = async (what: string, since: number): Promise<void> => {
    const { cpuMs, rssMib, peakMib } = await usageOf(kip.pid)
    const seconds = ((performance.now() - since) / 1000).toFixed(1)
    process.stderr.write(
      `  ${what}: ${seconds} s; leader so far ${(cpuMs / 1000).toFixed(1)} s of CPU, ${rssMib.toFixed(0)} MiB, at most ${peakMib.toFixed(0)} MiB\n`,
    )
  }

  const start = performance.now()
  await using kip = await world.startKip()
  await until('a status of every image', () => areCached(images))
  await say('status of all images exact after the start', start)

  const before = await etcd.sizes()
  const more = Array.from({ length: added }, (_, index) => `registry.example.test/new-${index}:1`)
  const asked = performance.now()
  await Promise.all(
    more.map((reference, index) => request(world, `new-${index}`, reference, signal)),
  )
  const has = (one: DaemonSet, reference: string): boolean =>
    (one.spec?.template?.spec?.volumes ?? []).some(({ image }) => image?.reference === reference)
  const holders = (): readonly DaemonSet[] =>
    world.daemonSets().filter((one) => more.some((reference) => has(one, reference)))
  await until('DaemonSets with the new images', () => {
    const found = holders()
    return more.every((reference) => found.some((one) => has(one, reference)))
  })
  const wallMs = performance.now() - asked
  await say('DaemonSets accepted', asked)
  await until('the new images on all nodes', () => holders().every(isEverywhere))
  const there = performance.now()
  await until('the status of the new images', () => areCached(more))
  const behindMs = performance.now() - there
  await say('status of the new images exact', there)
  await until('the new images held for good', () => {
    const found = holders()
    return found.every((one) => !one.metadata?.name?.includes('fresh') && isEverywhere(one))
  })
  await say('held for good', asked)
  const after = await etcd.sizes()
  const { cpuMs, peakMib } = await usageOf(kip.pid)
  return {
    ...{ wallMs, behindMs, cpuMs, rssMib: peakMib },
    storedBytes: world.storedBytes,
    writtenMib: (after.put - before.put) / mib,
    etcdMib: after.inUse / mib,
  }

  function isEverywhere({ metadata, status }: DaemonSet): boolean {
    return (
      status?.observedGeneration === metadata?.generation &&
      status?.updatedNumberScheduled === nodes &&
      status.numberReady === nodes
    )
  }
}

function cachedOf(raw: KubeObject): Cached | undefined {
  const { spec, status } = raw as {
    readonly spec?: { readonly reference?: string }
    readonly status?: { readonly nodes?: { readonly cached?: number } }
  }
  const reference = spec?.reference
  return reference === undefined ? undefined : { reference, cached: status?.nodes?.cached ?? 0 }
}

async function request(
  { client }: ScaleWorld,
  name: string,
  reference: string,
  signal: AbortSignal,
): Promise<void> {
  const object = {
    ...{ apiVersion: 'images.kip/v1alpha1', kind: 'CachedImage' },
    ...{ metadata: { name }, spec: { reference } },
  }
  await createObject(client, cachedImages, object as KubeObject, { signal })
}
