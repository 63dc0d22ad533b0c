import { createObject, deleteObject } from '../../../src/kube/apply.ts'
import { type ResourcePath, resourcePath } from '../../../src/kube/resource.ts'
import type { Pod } from '../../../src/kube/types.ts'
import { eventually } from '../../cluster/index.ts'
import { ContenderError } from '../harness/measure.ts'
import type { Measurement } from '../harness/measurement.ts'
import type { Contender } from '../harness/rounds.ts'
import { type ControlPlane, makeNamespace, namespaces } from './control-plane.ts'
import { podSpec } from './pod-review.ts'
import { requestImages, startWholeKip } from './whole-kip.ts'
import type { World } from './world.ts'

export interface PairsOptions {
  readonly world: World
  /** Name of the contender whose pods kip is asked about, and of the one whose namespace is opted out. */
  readonly withKip: string
  readonly without: string
  readonly pairs: number
}

interface Lane {
  readonly pods: ResourcePath
  readonly rewritten: boolean
  readonly tookMs: number[]
}

const PAIRED = 'kip.bench/paired=true'
const METADATA_ONLY = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'
/** Pairs that the API server keeps before they are deleted. */
const KEPT = 250
const STANDING = 'standing'
/** Pairs before the measured ones: connections, code and caches are warm then. */
const WARM_UP = 300

/**
 * Creates pods on a real API server in turn, with and without kip. Both of a pair are made in one run, one after the other
 * in an order left to chance, so what happens on the machine meanwhile happens to both alike.
 */
export function podPairs({ world, withKip, without, pairs }: PairsOptions): readonly Contender[] {
  const measured = new Map<number, Promise<ReadonlyMap<string, Measurement>>>()
  const contender = (name: string): Contender => ({
    name,
    run: async (round, signal) => {
      const both =
        measured.get(round) ?? measurePairs(world, { withKip, without, pairs, round }, signal)
      measured.set(round, both)
      const found = (await both).get(name)
      if (found === undefined) throw new ContenderError(`${name} was not measured`)
      return found
    },
  })
  return [contender(withKip), contender(without)]
}

async function measurePairs(
  world: World,
  options: Omit<PairsOptions, 'world'> & { readonly round: number },
  signal: AbortSignal,
): Promise<ReadonlyMap<string, Measurement>> {
  const { withKip, without, pairs, round } = options
  const plane = await world.controlPlane()
  const place = `pairs-${round}`
  const asked = await makeNamespace(plane, `${place}-asked`, {}, signal)
  const optedOut = { 'images.kip/ignore': 'true' }
  const unasked = await makeNamespace(plane, `${place}-unasked`, optedOut, signal)
  await makeNamespace(plane, place, {}, signal)
  await requestImages(plane, signal)
  await using _kip = await startWholeKip({
    ...{ plane, place, namespace: place, command: world.program, signal },
  })
  const lanes: readonly [Lane, Lane] = [
    { pods: asked, rewritten: true, tookMs: [] },
    { pods: unasked, rewritten: false, tookMs: [] },
  ]
  await eventually(
    'API server that asks kip',
    async () => {
      // It stays, as the image of a pod mostly has other users: else each pair would be the first and the last of three
      // images, which kip writes down.
      await deleteObject(plane.client, asked, STANDING, { signal })
      const image = await createPod(plane, lanes[0], STANDING, signal)
      return image.startsWith(plane.backup.host)
    },
    { timeoutMs: 20_000, signal },
  )
  for (let pair = 0; pair < WARM_UP + pairs; pair++) {
    if (pair === WARM_UP) for (const { tookMs } of lanes) tookMs.length = 0
    const name = `pod-${pair}`
    for (const lane of Math.random() < 0.5 ? lanes : lanes.toReversed())
      await timePod(plane, lane, name, signal)
    if (pair % KEPT === KEPT - 1) await deletePods(plane, lanes, signal)
  }
  for (const { pods } of lanes)
    await deleteObject(plane.client, namespaces, pods.namespace ?? '', { signal })
  return new Map([
    [withKip, measurementOf(lanes[0])],
    [without, measurementOf(lanes[1])],
  ])
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
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now()
  const image = await createPod(plane, lane, name, signal)
  lane.tookMs.push(performance.now() - started)
  if (image.startsWith(plane.backup.host) !== lane.rewritten)
    throw new ContenderError(`${lane.pods.namespace}/${name} was made with ${image}`)
}

/** A pod of 7 KB that no scheduler takes. @returns the image that it was made with */
async function createPod(
  { client, images }: ControlPlane,
  { pods }: Lane,
  name: string,
  signal: AbortSignal,
): Promise<string> {
  const spec = {
    ...podSpec(images),
    serviceAccountName: 'default',
    schedulingGates: [{ name: 'kip.bench/never' }],
  }
  const labels = name === STANDING ? {} : { 'kip.bench/paired': 'true' }
  const object = { apiVersion: 'v1', kind: 'Pod', metadata: { name, labels }, spec }
  const made = await createObject<Pod>(client, pods, object, { signal })
  return made.spec?.containers?.[0]?.image ?? ''
}

function measurementOf({ tookMs }: Lane): Measurement {
  const sorted = tookMs.toSorted((a, b) => a - b)
  const at = (part: number): number => sorted[Math.floor(sorted.length * part)] ?? 0
  const wallMs = tookMs.reduce((sum, took) => sum + took, 0)
  return { wallMs, p50Ms: at(0.5), p99Ms: at(0.99) }
}
