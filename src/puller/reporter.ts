import type { PullerSettings } from '../config/settings.ts'
import type { Log } from '../kube/log.ts'
import type { Alterations } from './altered-images.ts'
import { failureText } from './failure-text.ts'
import { News } from './news.ts'
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
  /** References. */
  readonly #apart = new News()
  /** References. */
  readonly #altered = new News()
  /** Names of shards, with why. */
  readonly #refused = new News()
  /** Texts, of what concerns them all. */
  readonly #troubles = new News()

  constructor(options: { readonly log: Log; readonly settings: PullerSettings }) {
    this.#log = options.log
    this.#settings = options.settings
  }

  report(plan: Plan, { taken, out, altered, refusals }: Circumstances): void {
    this.#reportApart(plan)
    this.#reportRefusals(refusals)
    this.#reportBlocked(plan)
    const lacks: readonly (readonly [ReadonlySet<string>, string])[] = [
      [
        plan.waiting,
        'images wait: nodes have as many puller pods as they may have (puller.podsPerNode)',
      ],
      [out, 'images are left out: the smallest node has no disk for them (puller.diskPercent)'],
      [
        plan.beyond,
        'images are left out: with as many nodes, etcd is not to store more of their pods',
      ],
    ]
    for (const [references, text] of lacks) {
      const fields = { images: [...references].slice(0, 10), count: references.size }
      this.#reportTrouble('warn', text, references.size > 0 && fields)
    }
    this.#reportAltered(altered)
    const daemonset = shardName(this.#settings.daemonSetName, 'holding', 1)
    const text =
      'a DaemonSet of this name is not of this kip; it is left alone, and another name is used'
    if (taken.has(daemonset)) this.#reportTrouble('warn', text, { daemonset })
  }

  #reportApart({ seen, places }: Plan): void {
    for (const [image, place] of places) {
      if (place !== 'apart') continue
      const [trouble] = seen.tally(image).failures
      if (trouble === undefined || !this.#apart.comes(image)) continue
      const { node, reason, message } = trouble
      const text = failureText(reason, message)
      this.#log.warn({ image, node, reason }, `image set apart: ${text}`)
    }
    for (const image of this.#apart.ends((image) => places.get(image) === 'apart')) {
      this.#log.info({ image }, 'image no longer set apart')
    }
  }

  #reportRefusals(refusals: ReadonlyMap<string, string>): void {
    for (const [daemonset, why] of refusals) {
      if (!this.#refused.comes(daemonset, why)) continue
      this.#log.error(
        { daemonset },
        `pods are refused: ${why}; see kubectl describe daemonset, and docs/puller.md for the quota needed`,
      )
    }
    for (const daemonset of this.#refused.ends((name) => refusals.has(name))) {
      this.#log.info({ daemonset }, 'pods are no longer refused')
    }
  }

  #reportBlocked({ seen }: Plan): void {
    const [[node, failure] = []] = seen.blocked
    const text = 'nodes cannot run the image with the sleep program; nothing is cached there'
    const image = this.#settings.sleepImage
    this.#reportTrouble('error', text, failure && { image, node, reason: failure.reason })
  }

  /** Those that have come, in one line: a webhook that pins digests changes them all. */
  #reportAltered(altered: Alterations): void {
    const come = [...altered].filter(([reference]) => this.#altered.comes(reference))
    this.#altered.ends((reference) => altered.has(reference))
    const [[, becomes] = []] = come
    if (becomes === undefined) return
    const images = come.map(([reference]) => reference)
    this.#log.warn(
      { images: images.slice(0, 10), count: images.length, becomes },
      "images are not held: another admission webhook changes their references in kip's DaemonSets or pods; exempt its namespace",
    )
  }

  /** @param fields what the log says of it; without any there is no such trouble */
  #reportTrouble(level: 'warn' | 'error', text: string, fields: object | false | undefined): void {
    if (!fields) this.#troubles.ends((known) => known !== text)
    else if (this.#troubles.comes(text)) this.#log[level](fields, text)
  }
}
