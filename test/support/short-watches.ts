import type { Clock } from '../../src/kube/clock.ts'
import type { FakeKube } from './fake-kube.ts'

/** Has a fake API server answer each watch and end it with what there was to tell at once. */
export function endWatchesAtOnce(kube: FakeKube): void {
  const { fault } = kube
  kube.fault = (request) => {
    if (request.query.watch === 'true') setImmediate(() => kube.endWatches())
    return fault?.(request)
  }
}

/** A clock by which nothing takes any time, and each wait is over in a thousandth of it. */
export const frozenClock: Clock = {
  now: () => 0,
  timer: (callback, ms) => {
    const timeout = setTimeout(callback, ms / 1000)
    return () => clearTimeout(timeout)
  },
}
