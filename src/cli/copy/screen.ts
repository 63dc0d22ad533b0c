import type { Terminal } from '../invocation.ts'
import type { BlobUnderWay, ProgressView } from './progress.ts'
import { formatBytes, formatSeconds } from './quantities.ts'

/** More layers than this at a time are seldom read. */
const MOST_LAYERS = 12
const BAR = 24
/** Of terminals that say 0 for want of a size, as those of CI and of expect do. */
const COLUMNS = 80
const ROWS = 24

/** `12 of 200 images, 1.2 GB of 3.4 GB, 105 MB/s, 20 s left`; the images alone while no bytes are to move, as in a dry run. */
export function overallLine(view: ProgressView): string {
  if (view.images === 0) return 'listing tags'
  const count = `${view.imagesDone} of ${view.images} ${view.images === 1 ? 'image' : 'images'}`
  if (view.total === 0) return count
  const images = view.images > 1 ? [count] : []
  const bytes = `${formatBytes(view.done)} of ${formatBytes(view.total)}`
  const rate = view.bytesPerSecond === undefined ? [] : [`${formatBytes(view.bytesPerSecond)}/s`]
  const left = view.secondsLeft === undefined ? [] : [`${formatSeconds(view.secondsLeft)} left`]
  return [...images, bytes, ...rate, ...left].join(', ')
}

/** What is shown while images are copied: a line for each layer on its way, and one for all. */
export function progressLines(
  view: ProgressView,
  size: { readonly columns: number; readonly rows: number },
): readonly string[] {
  const room = Math.max(0, Math.min(MOST_LAYERS, (size.rows || ROWS) - 3))
  const shown = view.blobs.slice(0, room)
  const hidden = view.blobs.length - shown.length
  const overall = overallLine(view) + (hidden > 0 ? ` (and ${hidden} more)` : '')
  const lines = [...shown.map((blob) => layerLine(blob, view.images > 1)), overall]
  // A line as wide as the terminal would wrap, and the next picture would be drawn a line too low.
  return lines.map((line) => line.slice(0, Math.max(1, (size.columns || COLUMNS) - 1)))
}

function layerLine({ image, digest, sent, bytes }: BlobUnderWay, named: boolean): string {
  const part = bytes === 0 ? 1 : Math.min(1, sent / bytes)
  const filled = Math.round(part * BAR)
  const bar = `${'#'.repeat(filled)}${'.'.repeat(BAR - filled)}`
  const short = digest.slice(digest.indexOf(':') + 1).slice(0, 12)
  const amount = `${formatBytes(sent)} of ${formatBytes(bytes)}`
  return `  ${short} [${bar}] ${amount.padEnd(20)}${named ? ` ${lastPart(image)}` : ''}`
}

function lastPart(image: string): string {
  return image.slice(image.lastIndexOf('/') + 1)
}

/** The last lines of a terminal, drawn again and again in place. */
export class Screen {
  readonly #terminal: Terminal
  #drawn = 0

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  draw(view: ProgressView): void {
    const lines = progressLines(view, this.#terminal)
    this.#terminal.write(`${this.#back()}${lines.join('\n')}\n`)
    this.#drawn = lines.length
  }

  /** Takes the picture away, so that lines can be printed where it was. */
  clear(): void {
    if (this.#drawn > 0) this.#terminal.write(this.#back())
    this.#drawn = 0
  }

  #back(): string {
    return this.#drawn === 0 ? '' : `\x1b[${this.#drawn}A\x1b[J`
  }
}
