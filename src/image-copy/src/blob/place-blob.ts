import { algorithmOf, digestOf } from '../digest.ts'
import { RegistryError } from '../errors.ts'
import { type Descriptor, isForeign } from '../image/manifest.ts'
import type { KnownBlob } from '../registry/blob-ledger.ts'
import type { Context } from '../registry/context.ts'
import { type ForeignLayers, foreignFailure, foreignSource } from '../registry/foreign-layers.ts'
import type { Repository } from '../registry/repository.ts'
import type { BlobOutcome } from './blob-outcome.ts'
import type { DryRun } from './dry-run.ts'
import type { Verifier } from './running-hash.ts'
import { headBlob } from './small-blob.ts'
import { transferBlob } from './transfer.ts'
import { cancelUpload, startUpload, type UploadSession } from './upload-session.ts'

export interface PlaceBlobParts {
  readonly source: Repository
  readonly target: Repository
  readonly blob: Descriptor
  readonly verify: Verifier
  /** Undefined: foreign layers stay where their URLs point. */
  readonly foreign: ForeignLayers | undefined
  /** What is known of the blob at the target's registry. */
  readonly known: KnownBlob
  /** What the blobs of this image have shown so far. */
  readonly outlook: Outlook
  readonly context: Context
  /** Given: nothing is written. */
  readonly dryRun?: DryRun | undefined
}

/**
 * Whether the target's repository is likely to lack the blobs that come. If so the download opens together with the upload,
 * which saves a round trip; a wrong guess costs a connection.
 */
export interface Outlook {
  lacksBlobs: boolean
}

/** Up to here a blob that is sent twice, or read in vain, is cheaper than a request that would have told. */
const cheapBytes = 256 * 1024
const probeBytes = 1024 * 1024
/** Answers about a repository, which say nothing about the registry. */
const ofRepository: ReadonlySet<number | undefined> = new Set([401, 403, 404])

/**
 * Brings a blob into the target's repository by the cheapest way: it is there; it is mounted from another repository of the
 * registry; it is sent. One `POST ?mount=` mostly answers all three questions and opens the upload too.
 */
export function placeBlob(parts: PlaceBlobParts): Promise<BlobOutcome> {
  return isForeign(parts.blob) ? placeForeign(parts) : place(parts)
}

async function placeForeign(parts: PlaceBlobParts): Promise<BlobOutcome> {
  const { source, blob, foreign } = parts
  if (foreign === undefined) return 'skipped'
  const from = foreignSource(source, blob, foreign)
  try {
    return await place({ ...parts, source: from })
  } catch (error) {
    throw foreignFailure(error, from, blob)
  }
}

async function place(parts: PlaceBlobParts): Promise<BlobOutcome> {
  const { source, target, blob, known, context, dryRun } = parts
  requireEmptyDigest(blob, source)
  if (source.registry === target.registry && source.name === target.name) return 'present'
  if (dryRun !== undefined) return dryRun.placeBlob(target, blob, context)
  return (await known.lead(target.name, context.signal, () => bring(parts))) ?? 'present'
}

/** A blob without bytes is never downloaded, so its digest is checked here. */
function requireEmptyDigest(blob: Descriptor, source: Repository): void {
  if (blob.size > 0 || digestOf(new Uint8Array(0), algorithmOf(blob.digest)) === blob.digest) return
  throw new RegistryError(
    'COPY_DIGEST_MISMATCH',
    `blob ${blob.digest} is said to be empty, and its digest says otherwise`,
    source.party,
  )
}

async function bring(parts: PlaceBlobParts): Promise<BlobOutcome> {
  const { source, target, blob, verify, known, context, outlook } = parts
  const { endpoint } = target.write
  const holder = source.registry === target.registry ? source.name : known.holder
  const hint = holder === undefined ? known.hintFor(target.name) : undefined
  const from = holder ?? hint
  if (from !== undefined && endpoint.learned.mount !== 'broken') {
    const session = await mount(target, blob, { from, isHint: hint !== undefined }, context)
    if (session === undefined) return 'mounted'
    if (hint !== undefined) known.missed(hint, session === 'failed')
    if (session !== 'failed') {
      let begun = false
      try {
        await inSlots(parts, () => {
          begun = true
          return transferBlob({ source, target, blob, verify, context, session })
        })
      } catch (error) {
        if (!begun) await cancelUpload(target, session, context)
        throw error
      }
      return 'copied'
    }
  }
  return await inSlots(parts, async () => {
    if (endpoint.learned.selfMount === 'broken') {
      if (await headBlob(target, blob, context)) return 'present'
      const session = startUpload(target, context)
      const sent = await transferBlob({ source, target, blob, verify, context, session })
      return sent ? 'copied' : 'present'
    }
    const guess = outlook.lacksBlobs || blob.size <= cheapBytes
    const session = claim(target, blob, context)
    const settled = guess ? session : await session
    if (settled === undefined) {
      outlook.lacksBlobs = false
      return 'present'
    }
    const sent = await transferBlob({ source, target, blob, verify, context, session: settled })
    outlook.lacksBlobs = sent
    return sent ? 'copied' : 'present'
  })
}

/** One place among the downloads of the source and one among the uploads of the target, always taken in this order. */
async function inSlots<T>(
  { source, target, context }: PlaceBlobParts,
  work: () => Promise<T>,
): Promise<T> {
  const { pulls } = (source.reads.at(-1) ?? target.write).endpoint
  const { pushes } = target.write.endpoint
  const pull = pulls.enter(context.signal)
  if (pull !== undefined) await pull
  try {
    const push = pushes.enter(context.signal)
    if (push !== undefined) await push
    try {
      return await work()
    } finally {
      pushes.leave()
    }
  } finally {
    pulls.leave()
  }
}

/** @returns undefined: mounted; 'failed': the registry does not mount */
async function mount(
  target: Repository,
  blob: Descriptor,
  { from, isHint }: { readonly from: string; readonly isHint: boolean },
  context: Context,
): Promise<UploadSession | undefined | 'failed'> {
  const { learned } = target.write.endpoint
  try {
    const session = await startUpload(target, context, { digest: blob.digest, from })
    if (session === undefined) learned.mount = 'works'
    return session
  } catch (error) {
    if (context.signal.aborted) throw error
    // Some registries break over a repository that is gone, or take too long, and no later run would be told better.
    if (isHint && isPassing(error)) return 'failed'
    if (!isAnswer(error)) throw error
    // Without leave to read there, or a repository to mount into, the mount is refused as a whole; that says nothing about
    // other repositories.
    if (!ofRepository.has(error.status)) learned.mount = 'broken'
    return 'failed'
  }
}

/** Whether a registry that can be reached failed in a way that may pass, and did not. */
function isPassing(error: unknown): boolean {
  return error instanceof RegistryError && error.retryable && error.code !== 'COPY_UNREACHABLE'
}

/** Whether a failure is what the registry says to what it was asked: what passes, or that it is not reached, is not. */
function isAnswer(error: unknown): error is RegistryError {
  return error instanceof RegistryError && !error.retryable && error.code !== 'COPY_UNREACHABLE'
}

/**
 * Opens an upload, unless the blob is there: a mount from the repository itself tells both. Until a host has shown that it
 * knows this, larger blobs are asked for by HEAD at the same time.
 */
async function claim(
  target: Repository,
  blob: Descriptor,
  context: Context,
): Promise<UploadSession | undefined> {
  const { learned } = target.write.endpoint
  const probe = learned.selfMount === 'unknown' && blob.size > probeBytes
  const present = probe ? headBlob(target, blob, context) : undefined
  present?.catch(() => {})
  try {
    const session = await startUpload(target, context, { digest: blob.digest, from: target.name })
    if (session === undefined) {
      learned.selfMount = 'works'
      return undefined
    }
    if (present === undefined) return session
    let there: boolean | undefined
    try {
      there = await present
    } finally {
      if (there !== false) await cancelUpload(target, session, context)
    }
    if (!there) return session
    learned.selfMount = 'broken'
    return undefined
  } catch (error) {
    if (context.signal.aborted || !isAnswer(error)) throw error
    if (ofRepository.has(error.status)) throw error
    learned.selfMount = 'broken'
    if (await headBlob(target, blob, context)) return undefined
    return startUpload(target, context)
  }
}
