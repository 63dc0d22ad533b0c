import {
  type CopyEvent,
  formatReference,
  type ImageReference,
  parseReference,
  type RegistryClient,
} from '@containers/image-copy'
import type { Mapping } from '../images/mapping.ts'
import { Backoff, reflectorBackoff } from '../kube/backoff.ts'
import { sleep, systemClock } from '../kube/clock.ts'
import { KubeApiError } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'
import { WorkQueue } from '../kube/work-queue.ts'
import type { ImageState, Mirror } from '../state/cached-image.ts'
import { changedSince } from '../state/changed-since.ts'
import { ConflictError, type ImageStore } from '../state/store.ts'
import { copyWhole, isLost } from './copy-whole.ts'
import { failedMirror } from './failure.ts'
import { mirrorOf } from './plan.ts'
import { SentBytes } from './sent-bytes.ts'
import type { Yielding } from './yielding.ts'

/** What one try to copy came to. */
export interface CopyOutcome {
  readonly reference: string
  readonly state: 'Verified' | 'Failed' | 'Blocked'
  readonly code?: string
  /** Sent to the backup, whatever the try came to. */
  readonly bytes: number
  readonly seconds: number
}

export interface MirrorWorkerOptions {
  readonly store: ImageStore
  /** Speaks to sources without credentials, and to the backup with the configured ones. */
  readonly client: RegistryClient
  readonly mapping: Mapping
  /** Backup registry as configured: the key of the entries this worker takes. */
  readonly registry: string
  /** Names this worker in its claims. */
  readonly id: string
  /** Images copied at a time. */
  readonly concurrency: number
  readonly log: Log
  readonly report: (outcome: CopyOutcome) => void
  /** Around each copy, and asked with each piece of it; default: nothing. */
  readonly yielding?: Pick<Yielding, 'during' | 'check'>
  readonly now: () => number
  readonly random: () => number
}

/**
 * Takes `Pending` copies from the store by conditional write, copies and verifies them, and writes what came of it.
 *
 * Any number of workers may run, each with an id of its own: a claim that another one won ends in a conflict and is left alone.
 */
export async function runMirrorWorker(
  options: MirrorWorkerOptions,
  signal: AbortSignal,
): Promise<void> {
  const { store, registry, id, concurrency } = options
  const queue = new WorkQueue({ log: options.log, maxDelayMs: 60_000 })
  const consider = (reference: string) => {
    const image = store.get(reference)
    if (image && isForUs(mirrorOf(image, registry), id)) queue.add(reference)
  }
  const stop = store.onChange(consider)
  try {
    for (const image of store.list()) consider(image.reference)
    await queue.run((reference, signal) => takeOne(options, reference, signal), {
      concurrency,
      signal,
    })
  } finally {
    stop()
  }
}

/**
 * Whether a copy waits for any worker, or for this one: of a claim that was stored the answer may be lost, and nobody else takes
 * up a claim whose worker lives.
 */
function isForUs(entry: Mirror | undefined, id: string): entry is Mirror {
  return entry?.state === 'Pending' || (entry?.state === 'Copying' && entry.worker === id)
}

function claimOf(entry: Mirror, id: string, now: number): Mirror {
  const { code: _code, message: _message, retryAt: _retryAt, ...rest } = entry
  return { ...rest, state: 'Copying', worker: id, since: new Date(now).toISOString() }
}

async function takeOne(
  options: MirrorWorkerOptions,
  reference: string,
  signal: AbortSignal,
): Promise<void> {
  const { store, registry, id, log, now } = options
  // Followed by hand: a signal made of two, and listened to, stays in memory as long as the longer-lived of them.
  const ends = new AbortController()
  const onAbort = (): void => ends.abort(signal.reason)
  const image = store.get(reference)
  const entry = image && mirrorOf(image, registry)
  if (!image || !isForUs(entry, id)) return
  const stop = store.onChange((changed) => {
    if (changed !== reference || store.get(reference) !== undefined) return
    ends.abort(new Error(`${reference} is wanted no more`))
  })
  signal.addEventListener('abort', onAbort)
  try {
    // A claim that stands already is written as it is, which changes nothing and is not sent.
    const claim = entry.state === 'Copying' ? entry : claimOf(entry, id, now())
    const claimed = await store.putMirror(image, claim, signal)
    const copy = () => copyOne(options, claimed, claim, ends.signal)
    const result = await (options.yielding?.during(copy) ?? copy())
    await writeResult(options, reference, result, signal)
  } catch (error) {
    if (ends.signal.aborted && !signal.aborted) {
      log.info({ image: reference }, 'copy broken off, the image is wanted no more')
      return
    }
    // Another worker has it, or somebody changed the image meanwhile: the planner looks at it again.
    if (!(error instanceof ConflictError)) throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
    stop()
  }
}

/** Copies and verifies; every failure becomes a result, only an abort is thrown. */
async function copyOne(
  options: MirrorWorkerOptions,
  image: ImageState,
  claim: Mirror,
  signal: AbortSignal,
): Promise<Mirror> {
  const { client, mapping, log, report, now, random } = options
  const started = now()
  const source = sourceAtDigest(parseReference(image.reference), image.source?.digest)
  const target = mapping.backupOf(parseReference(image.reference))
  const sent = new SentBytes()
  const done = (mirror: Mirror): Mirror => {
    const bytes = sent.total
    const seconds = (now() - started) / 1000
    const { state, code } = mirror
    if (state === 'Verified' || state === 'Failed' || state === 'Blocked')
      report({ reference: image.reference, state, bytes, seconds, ...(code ? { code } : {}) })
    return mirror
  }
  const { state: _state, worker: _worker, since: _since, ...rest } = claim
  try {
    const onEvent = (event: CopyEvent): void => {
      sent.note(event)
      options.yielding?.check()
    }
    const digest = await copyWhole(client, source, target, { signal, onEvent })
    log.info(
      {
        image: image.reference,
        target: formatReference(target),
        digest,
        bytes: sent.total,
      },
      'mirrored',
    )
    const { attempts: _attempts, ...clean } = rest
    return done({ ...clean, reference: formatReference(target), state: 'Verified', digest })
  } catch (error) {
    signal.throwIfAborted()
    log.warn({ image: image.reference, err: error }, 'copy failed')
    const entry = await withoutLost(client, target, rest, signal)
    const failed = { entry, error, source, target, random: random(), now: now() }
    return done(failedMirror(failed))
  }
}

/** What stands of an entry whose new copy failed: pods are pointed at an earlier one only as long as the backup has it. */
async function withoutLost<T extends Pick<Mirror, 'digest'>>(
  client: RegistryClient,
  target: ImageReference,
  entry: T,
  signal: AbortSignal,
): Promise<T | Omit<T, 'digest'>> {
  const { digest, ...rest } = entry
  if (digest === undefined || !(await isLost(client, { ...target, digest }, signal))) return entry
  return rest
}

/**
 * Others write stanzas of their own meanwhile, so the result goes onto the newest state that still holds our claim. While
 * the API server is away or refuses it, it is kept: rights and tokens come back, the claim of a worker that lives is taken by
 * nobody, and another try would ask the registries again.
 */
async function writeResult(
  options: MirrorWorkerOptions,
  reference: string,
  result: Mirror,
  signal: AbortSignal,
): Promise<void> {
  const { store, registry, id, log, random } = options
  const now = (): number => systemClock.now()
  const backoff = new Backoff({ ...reflectorBackoff, random, now })
  for (;;) {
    signal.throwIfAborted()
    const image = store.get(reference)
    if (!image || mirrorOf(image, registry)?.worker !== id) return
    try {
      await store.putMirror(image, result, signal)
      return
    } catch (error) {
      signal.throwIfAborted()
      if (error instanceof ConflictError) await changedSince(store, image, signal)
      else if (error instanceof KubeApiError) {
        const waitMs = Math.max(backoff.next(), error.retryAfterMs ?? 0)
        log.warn({ image: reference, err: error, waitMs }, 'what came of a copy is not written yet')
        await sleep(systemClock, waitMs, signal)
      } else throw error
    }
  }
}

/** The tag may move under the copy; the digest that was resolved does not. */
function sourceAtDigest(source: ImageReference, digest: string | undefined): ImageReference {
  if (digest === undefined || source.digest !== undefined) return source
  return { registry: source.registry, repository: source.repository, digest }
}
