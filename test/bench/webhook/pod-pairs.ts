import { createObject, deleteObject } from '../../../src/kube/apply.ts'
import { type ResourcePath, resourcePath } from '../../../src/kube/resource.ts'
import type { Pod } from '../../../src/kube/types.ts'
import { eventually } from '../../cluster/index.ts'
import { ContenderError } from '../harness/measure.ts'
import type { Measurement } from '../harness/measurement.ts'
import type { Contender } from '../harness/rounds.ts'
import { startConstantPatch } from './constant-patch.ts'
import { postReviews, WARM_UP } from './contenders.ts'
import { type ControlPlane, makeNamespace, namespaces } from './control-plane.ts'
import { planeReview } from './plane-review.ts'
import { podSpec } from './pod-review.ts'
import { requestImages, startWholeKip } from './whole-kip.ts'
import type { World } from './world.ts'

export interface PairsOptions {
  readonly world: World
  /**
   * Names of the contenders: whose pods kip is asked about, whose namespace is opted out, and whose pods get kip's patch from
   * a program that answers nothing else.
   */
  readonly withKip: string
  readonly without: string
  readonly constant: string
  readonly pairs: number
}

interface Lane {
  readonly name: string
  readonly pods: ResourcePath
  readonly rewritten: boolean
  readonly tookMs: number[]
}

const PAIRED = 'kip.bench/paired=true'
const METADATA_ONLY = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'
/** Pairs that the API server keeps before they are deleted. */
const KEPT = 250
const STANDING = 'standing'
/** Pairs before the measured ones: the API server's connections and caches are warm then. kip's code is by reviews alone. */
const WARM_PAIRS = 300
const IN_FLIGHT = 16

/**
 * Creates pods on a real API server in turn, with and without kip, and with the least that kip's patch can cost. All of a pair
 * are made in one run, one after the other in an order left to chance, so what happens on the machine meanwhile happens to
 * all alike.
 */
export function podPairs(options: PairsOptions): readonly Contender[] {
  const measured = new Map<number, Promise<ReadonlyMap<string, Measurement>>>()
  const contender = (name: string): Contender => ({
    name,
    run: async (round, signal) => {
      const all = measured.get(round) ?? measurePairs({ ...options, round, signal })
      measured.set(round, all)
      const found = (await all).get(name)
      if (found === undefined) throw new ContenderError(`${name} was not measured`)
      return found
    },
  })
  return [options.withKip, options.without, options.constant].map(contender)
}

async function measurePairs(
  options: PairsOptions & { readonly round: number; readonly signal: AbortSignal },
): Promise<ReadonlyMap<string, Measurement>> {
  const { world, withKip, without, constant, pairs, round, signal } = options
  const plane = await world.controlPlane()
  const place = `pairs-${round}`
  const optedOut = { 'images.kip/ignore': 'true' }
  const selected = { 'kip.bench/constant': `${round}` }
  const lane = async (name: string, suffix: string, labels: Readonly<Record<string, string>>) => {
    const pods = await makeNamespace(plane, `${place}-${suffix}`, labels, signal)
    return { name, pods, rewritten: name !== without, tookMs: [] }
  }
  const asked: Lane = await lane(withKip, 'asked', {})
  const lanes: readonly Lane[] = [
    asked,
    await lane(without, 'unasked', optedOut),
    await lane(constant, 'constant', { ...optedOut, ...selected }),
  ]
  await makeNamespace(plane, place, {}, signal)
  await requestImages(plane, signal)
  await using kip = await startWholeKip({
    ...{ plane, place, namespace: place, command: world.program, signal },
  })
  const load = await planeReview(plane, world, { namespace: place, inFlight: IN_FLIGHT, signal })
  await postReviews(kip, load, WARM_UP, signal)
  const made = await eventually(
    'API server that asks kip',
    async () => {
      // It stays, as the image of a pod mostly has other users: else each pair would be the first and the last of three
      // images, which kip writes down.
      await deleteObject(plane.client, asked.pods, STANDING, { signal })
      const pod = await createPod(plane, asked, STANDING, signal)
      return isRewritten(plane, pod) ? pod : undefined
    },
    { timeoutMs: 20_000, signal },
  )
  const posted = podOf(plane, STANDING)
  await using _constant = await startConstantPatch({
    ...{ world, plane, posted, made, selected, signal },
  })
  for (let pair = 0; pair < WARM_PAIRS + pairs; pair++) {
    if (pair === WARM_PAIRS) for (const { tookMs } of lanes) tookMs.length = 0
    for (const one of shuffled(lanes))
      await timePod(plane, one, `pod-${pair}`, pair >= WARM_PAIRS, signal)
    if (pair % KEPT === KEPT - 1) await deletePods(plane, lanes, signal)
  }
  for (const { pods } of lanes)
    await deleteObject(plane.client, namespaces, pods.namespace ?? '', { signal })
  return new Map(lanes.map((one) => [one.name, measurementOf(one)]))
}

function shuffled<T>(items: readonly T[]): readonly T[] {
  return items
    .map((item) => ({ item, turn: Math.random() }))
    .toSorted((a, b) => a.turn - b.turn)
    .map(({ item }) => item)
}

/** Unmeasured, and so that etcd stays as small as it was. */
async function deletePods(
  { client }: ControlPlane,
  lanes: readonly Lane[],
  signal: AbortSignal,
): Promise<void> {
  for (const { pods } of lanes)
    await client.raw({
      method: 'DELETE',
      path: resourcePath(pods),
      query: { labelSelector: PAIRED },
      // The answer names all of them.
      accept: METADATA_ONLY,
      signal,
    })
}

async function timePod(
  plane: ControlPlane,
  lane: Lane,
  name: string,
  /** Else the API server may not know of a webhook yet. */
  checked: boolean,
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now()
  const pod = await createPod(plane, lane, name, signal)
  lane.tookMs.push(performance.now() - started)
  if (checked && isRewritten(plane, pod) !== lane.rewritten)
    throw new ContenderError(
      `${lane.pods.namespace}/${name} was made with ${pod.spec?.containers?.[0]?.image}`,
    )
}

function isRewritten({ backup }: ControlPlane, { spec }: Pod): boolean {
  return spec?.containers?.[0]?.image?.startsWith(backup.host) === true
}

async function createPod(
  plane: ControlPlane,
  { pods }: Lane,
  name: string,
  signal: AbortSignal,
): Promise<Pod> {
  return await createObject<Pod>(plane.client, pods, podOf(plane, name), { signal })
}

/** A pod of 7 KB that no scheduler takes. */
function podOf({ images }: ControlPlane, name: string): Pod {
  const spec = {
    ...podSpec(images),
    serviceAccountName: 'default',
    schedulingGates: [{ name: 'kip.bench/never' }],
  }
  const labels = name === STANDING ? {} : { 'kip.bench/paired': 'true' }
  return { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels }, spec } as Pod
}

function measurementOf({ tookMs }: Lane): Measurement {
  const sorted = tookMs.toSorted((a, b) => a - b)
  const at = (part: number): number => sorted[Math.floor(sorted.length * part)] ?? 0
  const wallMs = tookMs.reduce((sum, took) => sum + took, 0)
  return { wallMs, p50Ms: at(0.5), p99Ms: at(0.99) }
}
