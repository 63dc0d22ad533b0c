import type { CopyEvent } from '@containers/image-copy'

/** A layer or configuration that is on its way. */
export interface BlobUnderWay {
  readonly image: string
  readonly digest: string
  readonly sent: number
  readonly bytes: number
}

/** How far a copy of many images is. */
export interface ProgressView {
  /** 0 while it is not known which they are. */
  readonly images: number
  readonly imagesDone: number
  /** Bytes that are in the target, sent by this run or found there. */
  readonly done: number
  /** Of the images whose manifests were read so far. */
  readonly total: number
  /** Sent by this run. */
  readonly sent: number
  /** Over the last seconds; undefined until there is something to tell. */
  readonly bytesPerSecond: number | undefined
  readonly secondsLeft: number | undefined
  /** Largest first. */
  readonly blobs: readonly BlobUnderWay[]
}

/** The rate is an average over this time: long enough to be steady, short enough to follow a change. */
const WINDOW_MS = 5_000
/** Less than this tells nothing about a rate. */
const LEAST_WINDOW_MS = 500

interface ImageProgress {
  found: number
  done: number
  /** Made for the first blob: an image that is there already has none on its way. */
  active: Map<string, { sent: number; readonly bytes: number }> | undefined
}

/** Adds up the events of a copy. What is over is forgotten, so that memory does not grow with the number of images. */
export class CopyProgress {
  #images: number
  readonly #active = new Map<string, ImageProgress>()
  readonly #samples: { at: number; sent: number }[] = []
  #started = 0
  #over = 0
  #total = 0
  #done = 0
  #sent = 0

  /** @param images - how many will be copied */
  constructor(images: number) {
    this.#images = images
  }

  /** More of them turned out to be wanted. */
  expect(images: number): void {
    this.#images += images
  }

  apply(event: CopyEvent): void {
    if (event.type === 'image-started') {
      this.#started += 1
      this.#active.set(event.image, { found: 0, done: 0, active: undefined })
      return
    }
    const image = this.#active.get(event.image)
    if (image === undefined) return
    switch (event.type) {
      case 'blob-found':
        image.found += event.bytes
        this.#total += event.bytes
        break
      case 'blob-progress':
        this.#move(image, event.digest, event.sent, event.bytes)
        break
      case 'blob-done':
        if (event.how === 'copied') this.#move(image, event.digest, event.bytes, event.bytes)
        image.active?.delete(event.digest)
        image.done += event.bytes
        this.#done += event.bytes
        break
      case 'image-done':
      case 'image-failed':
        // Of a failed image, what is missing is not going to come.
        this.#total -= image.found - image.done
        this.#over += 1
        this.#active.delete(event.image)
        break
      default:
    }
  }

  /** @param now - in milliseconds, of a clock that only goes forward */
  view(now: number): ProgressView {
    const blobs = [...this.#active].flatMap(([image, { active }]) =>
      [...(active ?? [])].map(([digest, { sent, bytes }]) => ({ image, digest, sent, bytes })),
    )
    const done = this.#done + blobs.reduce((sum, { sent }) => sum + sent, 0)
    const bytesPerSecond = this.#rate(now)
    return {
      images: this.#images,
      imagesDone: this.#over,
      done,
      total: this.#total,
      sent: this.#sent,
      bytesPerSecond,
      secondsLeft: this.#left(done, bytesPerSecond),
      blobs: blobs.sort((a, b) => b.bytes - a.bytes),
    }
  }

  /** A broken upload may begin again below where it was; what was sent in vain counts for the rate alone. */
  #move(image: ImageProgress, digest: string, sent: number, bytes: number): void {
    image.active ??= new Map()
    const blob = image.active.get(digest)
    this.#sent += Math.max(0, sent - (blob?.sent ?? 0))
    if (blob === undefined) image.active.set(digest, { sent, bytes })
    else blob.sent = sent
  }

  #rate(now: number): number | undefined {
    this.#samples.push({ at: now, sent: this.#sent })
    while ((this.#samples[1]?.at ?? now) < now - WINDOW_MS) this.#samples.shift()
    const first = this.#samples[0]
    if (first === undefined || now - first.at < LEAST_WINDOW_MS) return undefined
    return ((this.#sent - first.sent) * 1000) / (now - first.at)
  }

  /** Images that have not begun are taken to be like those that have. */
  #left(done: number, bytesPerSecond: number | undefined): number | undefined {
    if (bytesPerSecond === undefined || bytesPerSecond <= 0 || this.#started === 0) return undefined
    const waiting = (this.#images - this.#started) / this.#started
    return Math.max(0, this.#total * (1 + waiting) - done) / bytesPerSecond
  }
}
