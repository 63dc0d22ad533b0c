/** The configuration cannot be used. All faults are there at once, each naming the setting and what to do. */
export class ConfigError extends Error {
  readonly code = 'KIP_CONFIG'
  readonly faults: readonly string[]
  constructor(faults: readonly string[]) {
    super(`configuration: ${faults.join('; ')}`)
    this.name = 'ConfigError'
    this.faults = faults
  }
}
