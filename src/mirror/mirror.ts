import type { Mapping } from '../images/mapping.ts'
import type { Log } from '../kube/log.ts'
import { WorkQueue } from '../kube/work-queue.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { ImageState } from '../state/cached-image.ts'
import { ConflictError, type ImageStore } from '../state/store.ts'
import { Doubts } from './doubts.ts'
import { OpenCopies } from './open-copies.ts'
import { Places } from './places.ts'
import { COLLISION, dueAt, type MirrorDecision, mirrorOf, planMirror } from './plan.ts'
import type { CopyOutcome } from './worker.ts'

export interface MirrorOptions {
  readonly store: ImageStore
  readonly mapping: Mapping
  /** Backup registry as configured. */
  readonly registry: string
  /** The shared decision, for one image. */
  readonly decide: (image: ImageState) => MirrorDecision
  /** Keeps a copying worker running while there is work, until the signal aborts; says who works and what came of each try. */
  readonly keepWorker: (
    hooks: {
      readonly work: OpenCopies
      readonly onWorker: (id: string) => void
      readonly onOutcome: (outcome: CopyOutcome) => void
    },
    signal: AbortSignal,
  ) => Promise<void>
  /** Hears of references that a node could not pull, as they stand in pods, until what it gives is called. */
  readonly onUnpulled: (listener: (reference: string) => void) => () => void
  readonly log: Log
  readonly metrics: Metrics
  readonly now: () => number
}

/**
 * The leader's half of mirroring: says which images are to be copied, and gives back what a dead worker had claimed.
 * The copying itself is a worker's (`worker.ts`), which meets this only in the store.
 */
export async function runMirror(options: MirrorOptions, signal: AbortSignal): Promise<void> {
  const { store, mapping, registry, decide, keepWorker, metrics, now } = options
  const queue = new WorkQueue({
    log: options.log,
    maxDelayMs: 60_000,
    metrics: metrics.workQueue('mirror'),
  })
  const live = new Set<string>()
  const work = new OpenCopies({ store, registry })
  const places = new Places({
    store,
    mapping,
    onOwner: (wanting) => {
      for (const reference of wanting) queue.add(reference)
    },
  })
  const doubts = new Doubts(now)
  const copies = metrics.counter(
    'kip_mirror_copies_total',
    'Tries to copy an image to the backup, by result.',
    ['result'],
  )
  const bytes = metrics.counter(
    'kip_mirror_bytes_total',
    'Bytes of blobs and manifests sent to the backup, by tries that failed too.',
  )

  const taken = (reference: string, place: string | undefined): MirrorDecision | undefined => {
    const owner = place === undefined ? undefined : places.ownerOf(place)
    if (owner === undefined || owner === reference) return undefined
    const text = `${place} is the place of ${owner}; the path mapping has one for each`
    return { act: false, code: COLLISION, text }
  }

  const plan = async (reference: string, signal: AbortSignal) => {
    const image = store.get(reference)
    if (!image) {
      doubts.forget(reference)
      return
    }
    const standing = mirrorOf(image, registry)
    // Whoever copies it verifies it.
    if (standing?.state !== 'Verified') doubts.settle(reference)
    const place = places.of(reference)
    const entry = planMirror({
      image,
      decision: taken(reference, place) ?? decide(image),
      registry,
      reference: place ?? '',
      liveWorkers: live,
      isDoubted: doubts.has(reference),
      now: now(),
    })
    const due = dueAt(standing)
    if (entry) {
      try {
        await store.putMirror(image, entry, signal)
        doubts.settle(reference)
      } catch (error) {
        // The change that got in between brings the reference back to this queue.
        if (!(error instanceof ConflictError)) throw error
      }
    } else if (due !== undefined && due > now()) {
      queue.addAfter(reference, due - now())
    }
  }

  const stops = [
    store.onChange((reference) => queue.add(reference)),
    options.onUnpulled((copy) => {
      for (const reference of places.imagesAt(copy))
        if (doubts.raise(reference)) queue.add(reference)
    }),
  ]
  const addAll = () => {
    for (const image of store.list()) queue.add(image.reference)
  }
  try {
    addAll()
    await Promise.all([
      queue.run(plan, { concurrency: 4, signal }),
      keepWorker(
        {
          work,
          onWorker: (id) => {
            live.clear()
            live.add(id)
            addAll()
          },
          onOutcome: (outcome) => {
            copies.inc({ result: outcome.state.toLowerCase() })
            bytes.inc(outcome.bytes)
          },
        },
        signal,
      ),
    ])
  } finally {
    for (const stop of stops) stop()
    work.close()
    places.close()
  }
}
