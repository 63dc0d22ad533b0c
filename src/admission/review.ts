import { ReviewError } from './errors.ts'
import { encodePatch, type PatchOperation } from './patch.ts'

const apiVersion = 'admission.k8s.io/v1'
const kind = 'AdmissionReview'

/** What kip reads of the request in an AdmissionReview; the objects were not looked at yet. */
export interface AdmissionRequest {
  readonly uid: string
  /** `group/resource/subresource`, empty parts left out: `pods`, `pods/ephemeralcontainers`, `apps/deployments`. */
  readonly resource: string
  readonly operation: string
  readonly namespace: string
  readonly dryRun: boolean
  readonly object: unknown
  readonly oldObject: unknown
}

/** What is answered to a request; kip never refuses one. */
export interface Answer {
  readonly patch: readonly PatchOperation[]
  /** The API server puts the webhook's name and a '/' before each key. */
  readonly auditAnnotations: Readonly<Record<string, string>>
  /** For whoever made the request, at most some 120 characters each. */
  readonly warnings: readonly string[]
}

/** An AdmissionReview as it is answered. */
export interface ReviewAnswer {
  readonly apiVersion: string
  readonly kind: string
  readonly response: {
    readonly uid: string
    readonly allowed: true
    readonly patchType?: 'JSONPatch'
    /** Base64 of the JSON. */
    readonly patch?: string
    readonly auditAnnotations?: Readonly<Record<string, string>>
    readonly warnings?: readonly string[]
  }
}

/**
 * Reads an AdmissionReview v1.
 *
 * @param body The body, already parsed from JSON.
 * @throws ReviewError naming the field that is not as it must be.
 * @see https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
 */
export function readReview(body: unknown): AdmissionRequest {
  const review = recordAt(body, 'the body')
  if (review.kind !== kind) throw new ReviewError(`kind: expected ${kind}`)
  if (review.apiVersion !== apiVersion) throw new ReviewError(`apiVersion: expected ${apiVersion}`)
  const request = recordAt(review.request, 'request')
  const uid = textAt(request.uid, 'request.uid')
  if (uid === '') throw new ReviewError('request.uid: is empty')
  const resource = recordAt(request.resource, 'request.resource')
  const { dryRun = false } = request
  if (typeof dryRun !== 'boolean') throw new ReviewError('request.dryRun: expected a boolean')
  return {
    uid,
    resource: [
      textAt(resource.group ?? '', 'request.resource.group'),
      textAt(resource.resource, 'request.resource.resource'),
      textAt(request.subResource ?? '', 'request.subResource'),
    ]
      .filter((part) => part !== '')
      .join('/'),
    operation: textAt(request.operation, 'request.operation'),
    namespace: textAt(request.namespace ?? '', 'request.namespace'),
    dryRun,
    object: request.object,
    oldObject: request.oldObject,
  }
}

/** Builds the review that answers a request; empty parts are left out. */
export function writeReview(uid: string, answer: Answer): ReviewAnswer {
  const { patch, auditAnnotations, warnings } = answer
  return {
    apiVersion,
    kind,
    response: {
      uid,
      allowed: true,
      ...(patch.length > 0 && { patchType: 'JSONPatch', patch: encodePatch(patch) }),
      ...(Object.keys(auditAnnotations).length > 0 && { auditAnnotations }),
      ...(warnings.length > 0 && { warnings }),
    },
  }
}

/** @throws ReviewError when the value is no object. */
export function recordAt(value: unknown, field: string): Readonly<Record<string, unknown>> {
  if (!isRecord(value)) throw new ReviewError(`${field}: expected an object`)
  return value
}

/** @throws ReviewError when the value is no string. */
export function textAt(value: unknown, field: string): string {
  if (typeof value !== 'string') throw new ReviewError(`${field}: expected a string`)
  return value
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
