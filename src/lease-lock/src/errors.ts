/** The options of an elector do not fit together; `faults` lists all that is wrong. */
export class LeaseConfigError extends RangeError {
  readonly code = 'LEASE_CONFIG'
  readonly faults: readonly string[]
  constructor(faults: readonly string[]) {
    super(`LeaseElector: ${faults.join('; ')}`)
    this.name = 'LeaseConfigError'
    this.faults = faults
  }
}

/** `run` was called while it runs. */
export class LeaseRunningError extends Error {
  readonly code = 'LEASE_RUNNING'
  constructor(identity: string) {
    super(`the elector of ${identity} runs already`)
    this.name = 'LeaseRunningError'
  }
}

/** Why a term's signal was aborted. */
export class LeaseLostError extends Error {
  readonly code = 'LEASE_LOST'
  constructor(identity: string, why: string) {
    super(`${identity} no longer leads: ${why}`)
    this.name = 'LeaseLostError'
  }
}

/** A request to the API server got no answer in its time. */
export class LeaseTimeoutError extends Error {
  readonly code = 'LEASE_TIMEOUT'
  constructor(verb: string, ms: number) {
    super(`${verb} of the Lease: no answer in ${Math.round(ms)} ms`)
    this.name = 'LeaseTimeoutError'
  }
}
