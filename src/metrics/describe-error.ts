/** What of an error goes into a log line. */
export interface ErrorDescription {
  readonly type: string
  readonly message: string
  readonly code?: string
  readonly cause?: ErrorDescription
  readonly errors?: readonly ErrorDescription[]
  readonly stack?: string
  /** Other scalar fields of the error, such as `status` or `host`. */
  readonly [field: string]: unknown
}

// Deeper chains and wider aggregates than these tell no more; one line must stay readable.
const maxDepth = 5
const maxErrors = 5

const ownCode = /^(KIP|COPY|LEASE)_/
const secretField = /auth|password|passwd|secret|token|credential|cookie|body/i

/**
 * Turns what was thrown into fields: type, message, code, scalar fields, and the chain of causes.
 *
 * An error with a code of kip's own is an expected condition and comes without stack. Userinfo in URLs is removed, and
 * objects that hang on an error (responses, requests) are left out.
 */
export function describeError(error: unknown): ErrorDescription {
  return describe(error, 0)
}

/** {@link describeError}, always with a stack: what nobody caught was not expected there, whatever its code. */
export function describeUncaught(error: unknown): ErrorDescription {
  const description = describe(error, 0)
  const stack = error instanceof Error ? error.stack : undefined
  return stack === undefined ? description : { ...description, stack: redactUrls(stack) }
}

/** Whether an error is a condition that kip knows: it has a code of kip's own. */
export function isExpected(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' && ownCode.test(code)
}

function describe(error: unknown, depth: number): ErrorDescription {
  if (!(error instanceof Error)) return { type: typeof error, message: redactUrls(String(error)) }
  const fields: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(error)) {
    if (secretField.test(key) || key === 'name') continue
    if (typeof value === 'string') fields[key] = redactUrls(value)
    if (typeof value === 'number' || typeof value === 'boolean') fields[key] = value
  }
  const deeper = depth < maxDepth
  return {
    ...fields,
    type: error.name,
    message: redactUrls(error.message),
    ...(!isExpected(error) && depth === 0 && error.stack && { stack: redactUrls(error.stack) }),
    ...(deeper && error.cause !== undefined && { cause: describe(error.cause, depth + 1) }),
    ...(deeper &&
      error instanceof AggregateError && {
        errors: error.errors.slice(0, maxErrors).map((each) => describe(each, depth + 1)),
      }),
  }
}

function redactUrls(text: string): string {
  return text.replace(/\/\/[^/@\s]+@/g, '//[redacted]@')
}
