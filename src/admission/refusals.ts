import type { Event } from '../kube/types.ts'
import type { PodOwner } from './loop-detector.ts'

/** Pods of an owner that an admission policy refused. */
export interface Refusal {
  readonly owner: PodOwner
  readonly count: number
  /** Milliseconds since the epoch: the last time. */
  readonly at: number
  /** The refusal names the backup itself. */
  readonly namesBackup: boolean
}

/** What controllers call it when a pod of theirs is not taken. */
export const failedCreate = 'FailedCreate'

/**
 * Reads an event as the refusal of pods by a policy about images; undefined: it is about something else, such as a quota.
 *
 * @param registry The backup: `host[:port][/path]`.
 */
export function refusalOf(event: Event, registry: string): Refusal | undefined {
  const { reason, note = '', regarding = {}, series } = event
  const { apiVersion = '', kind = '', namespace = '', name = '', uid = '' } = regarding
  if (reason !== failedCreate || uid === '' || !/\bdenied\b/i.test(note)) return undefined
  const namesBackup = registry !== '' && note.includes(`${registry}/`)
  if (!namesBackup && !/image|registr|signature|attest/i.test(note)) return undefined
  const time = series?.lastObservedTime ?? event.deprecatedLastTimestamp ?? event.eventTime ?? ''
  return {
    owner: { apiVersion, kind, namespace, name, uid },
    count: series?.count ?? (event.deprecatedCount || 1),
    at: Date.parse(time) || 0,
    namesBackup,
  }
}
