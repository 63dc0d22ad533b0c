export { type Clock, systemClock } from './clock.ts'
export { LeaseElector, type Term } from './elector.ts'
export {
  LeaseConfigError,
  LeaseLostError,
  LeaseRunningError,
  LeaseTimeoutError,
} from './errors.ts'
export { type Lease, type LeaseApi, termAnnotation } from './lease.ts'
export { type LeaseElectorOptions, type Log, leaseDefaults } from './options.ts'
