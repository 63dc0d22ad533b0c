import type { PullerSettings } from '../config/settings.ts'
import type { Log } from '../kube/log.ts'
import type { Alterations } from './altered-images.ts'
import { failureText } from './failure-text.ts'
import type { Plan } from './plan.ts'
import { shardName } from './shard.ts'

/** What a plan does not tell. */
export interface Circumstances {
  /** Names of DaemonSets that are somebody else's. */
  readonly taken: ReadonlySet<string>
  /** References that the disk has no room for. */
  readonly out: ReadonlySet<string>
  /** References that something else at the API server changes. */
  readonly altered: Alterations
  /** Why the API server refuses the pods of shards, by their names. */
  readonly refusals: ReadonlyMap<string, string>
}

/** Says in the log what people should know of, once each time that it comes to be. */
export class Reporter {
  readonly #log: Log
  readonly #settings: PullerSettings
  readonly #reported = new Set<string>()

  constructor(options: { readonly log: Log; readonly settings: PullerSettings }) {
    this.#log = options.log
    this.#settings = options.settings
  }

  report(
    { seen, places, waiting, beyond }: Plan,
    { taken, out, altered, refusals }: Circumstances,
  ): void {
    const log = this.#log
    for (const [reference, place] of places) {
      if (place !== 'apart') continue
      const [trouble] = seen.tally(reference).failures
      if (trouble === undefined) continue
      this.#once(`apart ${reference}`, () => {
        const text = failureText(trouble.reason, trouble.message)
        const fields = { image: reference, node: trouble.node, reason: trouble.reason }
        log.warn(fields, `image set apart: ${text}`)
      })
    }
    this.#reportRefusals(refusals)
    for (const key of this.#reported) {
      const reference = key.startsWith('apart ') ? key.slice('apart '.length) : undefined
      if (reference === undefined || places.get(reference) === 'apart') continue
      this.#reported.delete(key)
      log.info({ image: reference }, 'image no longer set apart')
    }
    const [[node, failure] = []] = seen.blocked
    if (failure === undefined) this.#reported.delete('blocked')
    else {
      this.#once('blocked', () =>
        log.error(
          { image: this.#settings.sleepImage, node, reason: failure.reason },
          'nodes cannot run the image with the sleep program; nothing is cached there',
        ),
      )
    }
    this.#reportLack(
      waiting,
      'images wait: nodes have as many puller pods as they may have (puller.podsPerNode)',
    )
    this.#reportLack(
      out,
      'images are left out: the smallest node has no disk for them (puller.diskPercent)',
    )
    this.#reportLack(
      beyond,
      'images are left out: with as many nodes, etcd is not to store more of their pods',
    )
    this.#reportAltered(altered)
    const plain = shardName(this.#settings.daemonSetName, 'holding', 1)
    if (taken.has(plain)) {
      this.#once('taken', () =>
        log.warn(
          { daemonset: plain },
          'a DaemonSet of this name is not of this kip; it is left alone, and another name is used',
        ),
      )
    }
  }

  /** @param text why, and the key by which it is told once */
  #reportLack(references: ReadonlySet<string>, text: string): void {
    if (references.size === 0) this.#reported.delete(text)
    else {
      this.#once(text, () =>
        this.#log.warn({ images: [...references].slice(0, 10), count: references.size }, text),
      )
    }
  }

  /** Those that have come, in one line: a webhook that pins digests changes them all. */
  #reportAltered(altered: Alterations): void {
    const come = [...altered].filter(([reference]) => !this.#reported.has(`altered ${reference}`))
    for (const key of this.#reported) {
      const [, reference] = /^altered (.*)$/.exec(key) ?? []
      if (reference !== undefined && !altered.has(reference)) this.#reported.delete(key)
    }
    const [[, becomes] = []] = come
    if (becomes === undefined) return
    const images = come.map(([reference]) => reference)
    for (const reference of images) this.#reported.add(`altered ${reference}`)
    this.#log.warn(
      { images: images.slice(0, 10), count: images.length, becomes },
      "images are not held: another admission webhook changes their references in kip's DaemonSets or pods; exempt its namespace",
    )
  }

  #reportRefusals(refusals: ReadonlyMap<string, string>): void {
    for (const [daemonset, text] of refusals) {
      this.#once(`refused ${daemonset} ${text}`, () =>
        this.#log.error(
          { daemonset },
          `pods are refused: ${text}; see kubectl describe daemonset, and docs/puller.md for the quota needed`,
        ),
      )
    }
    for (const key of this.#reported) {
      const [, daemonset = '', text] = /^refused (\S+) (.*)$/.exec(key) ?? []
      if (text === undefined || refusals.get(daemonset) === text) continue
      this.#reported.delete(key)
      if (!refusals.has(daemonset)) this.#log.info({ daemonset }, 'pods are no longer refused')
    }
  }

  #once(key: string, tell: () => void): void {
    if (this.#reported.has(key)) return
    this.#reported.add(key)
    tell()
  }
}
