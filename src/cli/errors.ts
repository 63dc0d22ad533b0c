/** A command was called in a way that it cannot understand; the process ends with exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
  readonly code = 'KIP_USAGE'
  /** Everything that is wrong, each a line that says where and what to do. */
  readonly faults: readonly string[]

  constructor(faults: readonly string[]) {
    super(faults.join('\n'))
    this.faults = faults
  }
}

/**
 * Waits for all parts of what a command was called with.
 *
 * @throws UsageError with what is wrong with any of them
 */
export async function allUsable<T extends readonly unknown[] | []>(
  parts: T,
): Promise<{ -readonly [P in keyof T]: Awaited<T[P]> }> {
  const settled = await Promise.allSettled(parts)
  const faults = settled.flatMap((part) =>
    part.status === 'rejected' && part.reason instanceof UsageError ? part.reason.faults : [],
  )
  if (faults.length > 0) throw new UsageError(faults)
  return await Promise.all(parts)
}
