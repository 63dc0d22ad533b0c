/** What the demo shows of one image: seconds since the workloads were applied, per step. */
export interface ImageSteps {
  readonly image: string
  readonly found?: number
  readonly mirrored?: number
  /** Node name → when its containerd listed the image. */
  readonly cached: Readonly<Record<string, number>>
}

/** A step that was just reached. */
export interface Reached {
  readonly image: string
  readonly step: string
  readonly at: number
}

/** When each image was first seen to reach each step; a step that was reached stays reached. */
export class Timeline {
  readonly #images = new Map<
    string,
    { found?: number; mirrored?: number; cached: Record<string, number> }
  >()
  readonly #reached: (event: Reached) => void

  constructor(reached: (event: Reached) => void) {
    this.#reached = reached
  }

  /** @param step `found`, `mirrored`, or a node's name */
  reach(image: string, step: string, at: number): void {
    const known = this.#images.get(image) ?? { cached: {} }
    this.#images.set(image, known)
    if (step === 'found' || step === 'mirrored') {
      if (known[step] !== undefined) return
      known[step] = at
    } else {
      if (known.cached[step] !== undefined) return
      known.cached[step] = at
    }
    this.#reached({ image, step, at })
  }

  steps(): readonly ImageSteps[] {
    return [...this.#images].map(([image, steps]) => ({ image, ...steps }))
  }

  /** Whether each of `images` was found, mirrored, and is cached on each of `nodes`. */
  complete(images: readonly string[], nodes: readonly string[]): boolean {
    return images.every((image) => {
      const steps = this.#images.get(image)
      return (
        steps?.found !== undefined &&
        steps.mirrored !== undefined &&
        nodes.every((node) => steps.cached[node] !== undefined)
      )
    })
  }
}
