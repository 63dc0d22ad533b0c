import { styleText } from 'node:util'
import type { ImageSteps, Reached } from './timeline.ts'

const SPINNER = '⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏'

/** Where the demo tells what happens: a live table on a terminal, plain lines elsewhere. */
export interface Screen {
  /** Begins a chapter. */
  title(text: string): void
  /** One line that stays. */
  line(text: string): void
  reached(event: Reached): void
  /** Draws the table again; does nothing off a terminal. */
  draw(images: readonly ImageSteps[], nodes: readonly string[]): void
  /** The table as it stands is the last; what follows comes below it. */
  settle(images: readonly ImageSteps[], nodes: readonly string[]): void
}

export function createScreen(out: NodeJS.WriteStream): Screen {
  return out.isTTY ? terminalScreen(out) : plainScreen(out)
}

function plainScreen(out: NodeJS.WriteStream): Screen {
  const line = (text: string) => void out.write(`${text}\n`)
  return {
    title: (text) => line(`\n== ${text}`),
    line,
    reached: ({ image, step, at }) => line(`${seconds(at).padStart(8)}  ${image}  ${word(step)}`),
    draw: () => undefined,
    settle: (images, nodes) => {
      for (const row of table(images, nodes)) line(row)
    },
  }
}

function terminalScreen(out: NodeJS.WriteStream): Screen {
  let drawn = 0
  let frame = 0
  const erase = () => {
    if (drawn > 0) out.write(`\x1b[${drawn}A\x1b[0J`)
    drawn = 0
  }
  const draw = (images: readonly ImageSteps[], nodes: readonly string[], mark: string) => {
    erase()
    const rows = table(images, nodes, mark).map((row) => row.slice(0, out.columns))
    out.write(`${rows.join('\n')}\n`)
    drawn = rows.length
  }
  return {
    title: (text) => {
      erase()
      out.write(`\n${styleText('bold', text)}\n`)
    },
    line: (text) => {
      erase()
      out.write(`${text}\n`)
    },
    reached: () => undefined,
    draw: (images, nodes) => draw(images, nodes, SPINNER[frame++ % SPINNER.length] ?? ''),
    settle: (images, nodes) => {
      draw(images, nodes, '-')
      drawn = 0
    },
  }
}

/** One row an image; `mark` stands for what is still to come. */
export function table(
  images: readonly ImageSteps[],
  nodes: readonly string[],
  mark = '-',
): readonly string[] {
  const cell = (at: number | undefined) => (at === undefined ? mark : seconds(at))
  const rows = [
    ['IMAGE', 'FOUND', 'MIRRORED', ...nodes.map((node) => `ON ${node.toUpperCase()}`)],
    ...images.map(({ image, found, mirrored, cached }) => [
      image,
      cell(found),
      cell(mirrored),
      ...nodes.map((node) => cell(cached[node])),
    ]),
  ]
  const widths = rows[0]?.map((_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  )
  return rows.map((row) =>
    row
      .map((text, column) => text.padEnd(widths?.[column] ?? 0))
      .join('  ')
      .trimEnd(),
  )
}

function word(step: string): string {
  return step === 'found' || step === 'mirrored' ? step : `on ${step}`
}

function seconds(at: number): string {
  return `${at.toFixed(1)} s`
}
