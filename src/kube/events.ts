import type { KubeClient } from './client.ts'
import type { Log } from './log.ts'
import type { KubeObject } from './types.ts'

/** An event to be told on an object. */
export interface EventNote {
  readonly regarding: KubeObject
  readonly type: 'Normal' | 'Warning'
  /** CamelCase, at most 128 characters. */
  readonly reason: string
  /** What was done or tried, CamelCase. */
  readonly action: string
  /** A sentence; cut to 1024 bytes. */
  readonly note: string
}

export interface EventRecorder {
  /** Never rejects, never throws: an event that cannot be told is logged. */
  record(note: EventNote): void
  /** Waits for events under way and ends open series. */
  close(): Promise<void>
}

export interface EventRecorderOptions {
  readonly client: KubeClient
  /** `reportingController`, such as `images.kip/kip`. */
  readonly controller: string
  /** `reportingInstance`: the pod's name. */
  readonly instance: string
  readonly log: Log
}
