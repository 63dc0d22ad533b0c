import type { Metrics } from '../metrics/metrics.ts'

/**
 * What became of a request: `Rewritten`, `Unchanged`; why a pod was left alone as a whole; `NotAPod` for a request that
 * kip has no say in; or why kip failed open.
 */
export type Outcome =
  | 'Rewritten'
  | 'Unchanged'
  | 'RewriteNever'
  | 'NoBackup'
  | 'NamespaceExcluded'
  | 'StaticPod'
  | 'OptedOut'
  | 'RewriteStopped'
  | 'NotAPod'
  | FailOpenReason

/** Why a pod was admitted without having been decided on. */
export type FailOpenReason = 'Overloaded' | 'Fault'

const failOpen: ReadonlySet<Outcome> = new Set<FailOpenReason>(['Overloaded', 'Fault'])

export interface AdmissionMetrics {
  /** A review was answered. */
  answered(outcome: Outcome): void
  /** An image of a pod was decided on. */
  image(code: string): void
  /** A request was answered with a 4xx, or worse. */
  refused(status: number): void
  seconds(seconds: number): void
  inFlight(requests: number): void
  /** A new certificate was taken over by the server, or could not be. */
  reload(result: 'ok' | 'error'): void
}

/** Declares what the webhook counts. */
export function admissionMetrics(metrics: Metrics): AdmissionMetrics {
  const requests = metrics.counter(
    'kip_admission_requests_total',
    'Admission reviews answered, by what became of the pod.',
    ['outcome'],
  )
  const images = metrics.counter(
    'kip_admission_images_total',
    'Images of pods decided on, by reason code.',
    ['code'],
  )
  const failedOpen = metrics.counter(
    'kip_admission_fail_open_total',
    'Pods admitted with their own images because kip could not decide.',
    ['reason'],
  )
  const refused = metrics.counter(
    'kip_admission_refused_total',
    'Requests that were no admission review, by HTTP status.',
    ['status'],
  )
  const duration = metrics.histogram(
    'kip_admission_duration_seconds',
    'From the headers of a request to the end of its answer.',
    [],
    // The answer itself takes some 200 µs; the API server stops waiting after two seconds.
    [0.0002, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2],
  )
  const inFlight = metrics.gauge('kip_admission_in_flight', 'Requests being received or answered.')
  const reloads = metrics.counter(
    'kip_admission_certificate_reloads_total',
    'Certificates taken over by the server, by result (ok, error).',
    ['result'],
  )
  return {
    answered(outcome) {
      requests.inc({ outcome })
      if (failOpen.has(outcome)) failedOpen.inc({ reason: outcome })
    },
    image: (code) => images.inc({ code }),
    refused: (status) => refused.inc({ status }),
    seconds: (seconds) => duration.observe(seconds),
    inFlight: (count) => inFlight.set(count),
    reload: (result) => reloads.inc({ result }),
  }
}
