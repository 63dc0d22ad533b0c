import { podTemplateOf, type WorkloadKind } from '../images/templates.ts'
import { getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import { type Clock, systemClock } from '../kube/clock.ts'
import type { EventRecorder } from '../kube/events.ts'
import type { Log } from '../kube/log.ts'
import { Reflector } from '../kube/reflector.ts'
import { resourceOf } from '../kube/resource.ts'
import type { KubeObject, Pod } from '../kube/types.ts'
import { untilAborted } from '../kube/until-aborted.ts'
import { WorkQueue } from '../kube/work-queue.ts'
import type { Metrics } from '../metrics/metrics.ts'
import type { StoppedOwners, StopReason } from '../state/stopped-owners.ts'
import { LoopDetector, lostPodOf, type PodOwner } from './loop-detector.ts'
import { failedCreate, type Refusal, refusalOf } from './refusals.ts'
import type { Reviewer } from './reviewer.ts'

export interface LoopBreakerOptions {
  readonly client: KubeClient
  readonly stopped: StoppedOwners
  /** The kinds whose pod template kip may read. */
  readonly kinds: readonly WorkloadKind[]
  /** Decides on a pod as the webhook does. */
  readonly review: Reviewer
  /** The backup: `host[:port][/path]`. */
  readonly registry: string
  readonly events: EventRecorder
  readonly log: Log
  readonly metrics: Metrics
  readonly clock?: Clock
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number
}

/** Stops rewriting for owners that do not get along with it; for the leader alone. */
export interface LoopBreaker {
  /** Runs until the signal aborts. May be called again afterwards. */
  run(signal: AbortSignal): Promise<void>
  /** Takes note of a pod as the watch tells of it. Returns at once. */
  see(pod: Pod): void
}

/** A first stop lasts a day: whoever was changed meanwhile is found out by the next pod. Each further one twice as long. */
const stopMs = 86_400_000
const longestStopMs = 30 * stopMs
/** Refusals that were told of before were the business of the leader before. */
const recentMs = 10 * 60_000
const countEveryMs = 60_000

const why: Readonly<Record<StopReason, string>> = {
  Recreated: 'its pods were deleted soon after they had been rewritten, again and again',
  Refused: 'its pods were refused after they had been rewritten',
}

/** Makes the part that watches over what becomes of rewritten pods. */
export function createLoopBreaker(options: LoopBreakerOptions): LoopBreaker {
  const { client, stopped, log, metrics, clock = systemClock, now = Date.now } = options
  const stops = metrics.counter(
    'kip_admission_stops_total',
    'Owners that rewriting was stopped for, by reason (Recreated, Refused).',
    ['reason'],
  )
  const current = metrics.gauge(
    'kip_admission_stopped_owners',
    'Owners that rewriting is stopped for.',
  )
  let detector = new LoopDetector()
  let queue: WorkQueue | undefined
  const due = new Map<string, { readonly owner: PodOwner; readonly refusal?: Refusal }>()

  function stop(owner: PodOwner, refusal?: Refusal): void {
    if (stopped.has(owner.uid)) return
    due.set(owner.uid, { owner, ...(refusal && { refusal }) })
    queue?.add(owner.uid)
  }

  function refused(refusal: Refusal, before: Refusal | undefined): void {
    if (now() - refusal.at > recentMs) return
    const more = refusal.count - (before?.count ?? 0)
    if (more > 0 && detector.refused(refusal.owner.uid, more, refusal.at)) {
      stop(refusal.owner, refusal)
    }
  }

  /** Whether the owner's pods are rewritten at all: a policy may refuse pods that kip has nothing to do with. */
  async function isRewritten(
    { owner, namesBackup }: Refusal,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { apiVersion, namespace, name } = owner
    const kind = options.kinds.find(
      ({ kind, group, version }) =>
        kind === owner.kind && apiVersion === (group === '' ? version : `${group}/${version}`),
    )
    if (kind === undefined) return namesBackup
    const { group, version, plural } = kind
    const resource = { group, version, plural, namespace }
    const found = await getObject<KubeObject>(client, resource, name, { signal })
    const template = podTemplateOf(kind, found)
    if (template === undefined) return false
    const ownerReferences = [{ ...owner, controller: true }]
    const pod = { ...template, metadata: { ...template.metadata, ownerReferences } } as Pod
    return options.review({ pod }, namespace).outcome === 'Rewritten'
  }

  async function work(uid: string, signal: AbortSignal): Promise<void> {
    const found = due.get(uid)
    if (found === undefined || stopped.has(uid)) {
      due.delete(uid)
      return
    }
    const { owner, refusal } = found
    const reason: StopReason = refusal ? 'Refused' : 'Recreated'
    if (refusal && !(await isRewritten(refusal, signal))) {
      due.delete(uid)
      return
    }
    const times = (stopped.get(uid)?.times ?? 0) + 1
    const until = new Date(now() + Math.min(stopMs * 2 ** Math.min(times - 1, 10), longestStopMs))
    const { namespace, kind, name } = owner
    const entry = {
      uid,
      name: `${namespace}/${kind}/${name}`,
      reason,
      times,
      until: until.toISOString(),
    }
    await stopped.put(entry, signal)
    due.delete(uid)
    stops.inc({ reason })
    log.warn({ owner: entry.name, reason, times, until: entry.until }, 'rewriting stopped')
    tell(owner, reason, entry.until)
  }

  function tell(owner: PodOwner, reason: StopReason, until: string): void {
    const { apiVersion, kind, namespace, name, uid } = owner
    options.events.record({
      regarding: { apiVersion, kind, metadata: { namespace, name, uid } },
      type: 'Warning',
      reason: 'RewriteStopped',
      action: 'Rewriting',
      note: `kip leaves the images of its pods as they are until ${until}: ${why[reason]}. To make that permanent, put the label images.kip/ignore: "true" on its pods, or a rule with rewrite: never into admission.rules`,
    })
  }

  return {
    async run(signal) {
      detector = new LoopDetector()
      due.clear()
      queue = new WorkQueue({ log, clock, baseDelayMs: 1_000, maxDelayMs: 60_000 })
      const refusals = new Reflector<Refusal>({
        client,
        resource: resourceOf('events'),
        fieldSelector: `reason=${failedCreate}`,
        project: (raw) => refusalOf(raw, options.registry),
        onEvent: ({ type, value, previous }) => {
          if (type !== 'deleted') refused(value, previous)
        },
        optional: true,
        log,
        clock,
      })
      const count = (): void => {
        current.set(stopped.count())
        cancel = clock.timer(count, countEveryMs)
      }
      let cancel = (): void => {}
      try {
        await Promise.race([stopped.synced, untilAborted(signal)])
        count()
        await Promise.all([refusals.run(signal), queue.run(work, { signal })])
      } finally {
        cancel()
        current.set(0)
        queue = undefined
      }
    },
    see(pod) {
      if (queue === undefined) return
      const lost = lostPodOf(pod)
      if (lost !== undefined && detector.lost(lost)) stop(lost.owner)
    },
  }
}
