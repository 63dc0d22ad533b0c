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
