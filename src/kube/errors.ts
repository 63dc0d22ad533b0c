import type { Status } from './types.ts'

export interface KubeApiErrorInit {
  /** HTTP status; 0 when no answer came. */
  readonly status: number
  /**
   * meta/v1 StatusReason (`NotFound`, `Conflict`, `Expired`…). When no answer came: `Unreachable` (no connection could be
   * made), `Broken` (it ended before the answer did), `Timeout`, `NotLeading` (it was not sent: see `guardWrites`).
   */
  readonly reason: string
  readonly message: string
  readonly retryAfterMs?: number | undefined
  /** The server's own words on it, where it sent any. */
  readonly details?: Status | undefined
  readonly cause?: unknown
}

/** A request to the API server that was refused or got no answer. */
export class KubeApiError extends Error {
  readonly code = 'KIP_KUBE_API'
  readonly status: number
  readonly reason: string
  /** How long the server asks to wait (429, 503). */
  readonly retryAfterMs?: number
  readonly details?: Status

  constructor(init: KubeApiErrorInit) {
    super(init.message, init.cause === undefined ? undefined : { cause: init.cause })
    this.name = 'KubeApiError'
    this.status = init.status
    this.reason = init.reason
    if (init.retryAfterMs !== undefined) this.retryAfterMs = init.retryAfterMs
    if (init.details !== undefined) this.details = init.details
  }
}

/** The way to the API server cannot be made out: no kubeconfig, a broken one, no service account. */
export class KubeConfigError extends Error {
  readonly code = 'KIP_KUBE_CONFIG'

  constructor(message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'KubeConfigError'
  }
}

/** There is no such object. */
export function isNotFound(error: unknown): error is KubeApiError {
  return error instanceof KubeApiError && error.status === 404
}

/** kip may not: roles change, so it may later. */
export function isForbidden(error: unknown): error is KubeApiError {
  return error instanceof KubeApiError && error.status === 403
}

/** What is answered, or `otherwise` where kip may not ask. */
export async function unlessForbidden<T, U>(answer: Promise<T>, otherwise: U): Promise<T | U> {
  try {
    return await answer
  } catch (error) {
    if (isForbidden(error)) return otherwise
    throw error
  }
}

/** It may be answered otherwise in a moment: no answer came, or one of a server that is busy or in trouble. */
export function isPassing(error: unknown): error is KubeApiError {
  return error instanceof KubeApiError && (error.status === 0 || error.status >= 429)
}

/** Somebody else wrote first (a stale resourceVersion, or a field that another manager owns). */
export function isConflict(error: unknown): error is KubeApiError {
  return error instanceof KubeApiError && error.status === 409 && error.reason !== 'AlreadyExists'
}

/** Nobody is there to connect to: asking again costs a server nothing, and is how one learns that it is back. */
export function isUnreachable(error: unknown): error is KubeApiError {
  return error instanceof KubeApiError && error.reason === 'Unreachable'
}

/** An object of that name is there already. */
export function isAlreadyExists(error: unknown): error is KubeApiError {
  return error instanceof KubeApiError && error.status === 409 && error.reason === 'AlreadyExists'
}

/** The resourceVersion or the continue token is older than what the server keeps: list again. */
export function isExpired(error: unknown): error is KubeApiError {
  return (
    error instanceof KubeApiError &&
    (error.status === 410 || error.reason === 'Expired' || error.reason === 'Gone')
  )
}

/** The field managers that a server-side apply collided with, read from the server's own words. */
export function conflictingManagers(error: KubeApiError): readonly string[] {
  const managers = new Set<string>()
  for (const cause of error.details?.details?.causes ?? []) {
    if (cause.reason !== 'FieldManagerConflict') continue
    const quoted = /conflict with "((?:[^"\\]|\\.)*)"/.exec(cause.message ?? '')
    if (quoted?.[1] !== undefined) managers.add(quoted[1])
  }
  return [...managers]
}

/** The error that a watch tells in its stream and ends with. */
export function statusError(status: Status, path: string): KubeApiError {
  return new KubeApiError({
    status: status.code ?? 0,
    reason: status.reason ?? 'Unknown',
    message: `GET ${path}: watch ended: ${status.message ?? status.reason ?? 'no message'}`,
    details: status,
  })
}
