/** How long things are waited for, so that one change carries many images and a passing trouble none. */
export interface Pace {
  /** From an image's first sight to its going to the nodes: what is deployed together arrives within a second. */
  readonly gatherMs: number
  /** How long an image fails before it is set apart. The kubelet's second try comes after 10 s. */
  readonly judgeMs: number
  /** How long proven images wait for company before a holding shard takes them when nothing else is on its way. */
  readonly promoteMs: number
  /** The same while others are on their way. */
  readonly promoteLatestMs: number
  /** How long an image is unwanted before a shard is changed for that alone. */
  readonly removeMs: number
  /** The same when the shard is changed anyway: long enough for what is only asked about anew to be wanted again. */
  readonly removeAlongMs: number
  /**
   * How long a shard may stand still before its laggards are waited for no longer: a node that is gone without a word,
   * a pod that finds no room. Longer than the kubelet's longest back-off (5 min), shorter than patience.
   */
  readonly stuckMs: number
  /**
   * Wait between one image's leaving a holding shard for failing and the next one's, four times as long from one to the
   * next: when a whole registry is down and a new node asks for its images one by one, they must not all be moved.
   */
  readonly ejectMs: number
  readonly ejectMaxMs: number
  /** How long nothing is on its way before shards are put together: longer than a roll-out with its second thoughts. */
  readonly compactMs: number
}

/** Waits where nobody says otherwise. */
export const defaultPace: Pace = Object.freeze({
  gatherMs: 1000,
  judgeMs: 15_000,
  promoteMs: 5000,
  promoteLatestMs: 60_000,
  removeMs: 60_000,
  removeAlongMs: 10_000,
  stuckMs: 600_000,
  ejectMs: 15_000,
  ejectMaxMs: 3_600_000,
  compactMs: 1_800_000,
})
