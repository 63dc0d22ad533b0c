import type { Log } from '../kube/log.ts'
import type { AdmissionMetrics } from './admission-metrics.ts'
import { type PodChange, readPodChange } from './pod.ts'
import { type AdmissionRequest, type ReviewAnswer, readReview, writeReview } from './review.ts'
import { createReviewer, left, type ReviewerOptions, type Verdict } from './reviewer.ts'

export interface HandlerOptions extends ReviewerOptions {
  readonly log: Log
  readonly metrics: AdmissionMetrics
  /** Told of every reference without a copy that a real request named; must return at once. */
  readonly sight: (reference: string, namespace: string) => void
}

/**
 * Answers the parsed body of a request; `overloaded`: without deciding anything.
 *
 * @throws ReviewError when the body is no review, or what is reviewed no pod.
 */
export type Handler = (body: unknown, overloaded: boolean) => ReviewAnswer

/**
 * Makes the handler of reviews. It never refuses a pod: whatever goes wrong after the request was read admits the pod with
 * its own images, and is logged, counted, and noted for the audit log.
 */
export function createHandler(options: HandlerOptions): Handler {
  const { log, metrics, sight } = options
  const review = createReviewer(options)

  function decideOn(change: PodChange, { uid, namespace }: AdmissionRequest): Verdict {
    try {
      return review(change, namespace)
    } catch (err) {
      log.error({ err, uid, namespace }, 'admission review failed, the pod keeps its images')
      return left('Fault')
    }
  }

  function tell(reference: string, namespace: string): void {
    try {
      sight(reference, namespace)
    } catch (err) {
      log.error({ err, image: reference, namespace }, 'sighting failed')
    }
  }

  return (body, overloaded) => {
    const request = readReview(body)
    const { uid, namespace, dryRun } = request
    const change = overloaded ? undefined : readPodChange(request)
    const verdict = change ? decideOn(change, request) : left(overloaded ? 'Overloaded' : 'NotAPod')
    const { outcome, images, awaited, auditAnnotations } = verdict
    metrics.answered(outcome)
    for (const { code } of images) metrics.image(code)
    if (!dryRun) for (const reference of awaited) tell(reference, namespace)
    if (outcome === 'Rewritten') log.debug({ uid, namespace, ...auditAnnotations }, 'pod rewritten')
    return writeReview(uid, verdict)
  }
}
