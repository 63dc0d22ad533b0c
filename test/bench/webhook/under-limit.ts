import { createCpuLimit } from '../harness/cpu-limit.ts'
import { ContenderError } from '../harness/measure.ts'
import type { Contender } from '../harness/rounds.ts'
import { measurementOf, postReviews, WARM_UP } from './contenders.ts'
import { makeNamespace } from './control-plane.ts'
import { planeReview } from './plane-review.ts'
import { CORES, startWebhookServer } from './webhook-server.ts'
import { forgetImage, requestImage, requestImages, startWholeKip } from './whole-kip.ts'
import type { World } from './world.ts'

export interface LimitedOptions {
  readonly world: World
  readonly name: string
  /** Cores, of all processes together. */
  readonly cores: number
  readonly requests: number
  readonly inFlight: number
}

// A container is bound to no core: what copies may run beside what answers, and both use the one quota.

/** After the limit is set, until what was saved up before is spent and the copy has found its pace. */
const SETTLE = 1_000

/**
 * kip as a whole under a CPU limit, as its container has one: it leads, and its webhook answers.
 *
 * @param options.mirroring - while it answers, its child copies an image; else there is nothing to copy
 */
export function limitedKip(options: LimitedOptions & { readonly mirroring: boolean }): Contender {
  const { world, name, cores, requests, inFlight, mirroring } = options
  return {
    name,
    run: async (round, signal) => {
      const plane = await world.controlPlane()
      const namespace = namespaceOf(name)
      await makeNamespace(plane, namespace, {}, signal)
      await requestImages(plane, signal)
      const place = `${namespace}-${round}`
      await using limit = await createCpuLimit(`kip-bench-${process.pid}-${place}`)
      await using kip = await startWholeKip({
        ...{ plane, place, namespace, command: world.program, signal },
        enter: (line) => limit.enter(['taskset', '--cpu-list', CORES.both, ...line]),
      })
      const load = await planeReview(plane, world, { namespace, inFlight, signal })
      await postReviews(kip, load, WARM_UP, signal)
      try {
        if (mirroring) await requestImage(plane, 'large', plane.large, signal)
        await limit.set(cores)
        await postReviews(kip, load, SETTLE, signal)
        const measured = await postReviews(kip, load, requests, signal)
        const state = await kip.copyState(plane.large)
        if (mirroring !== (state === 'Copying'))
          throw new ContenderError(`${name}: at the end the copy is ${state ?? 'not begun'}`)
        return measurementOf(measured, requests)
      } finally {
        await limit.set(undefined)
        if (mirroring) await forgetImage(plane, 'large', signal)
      }
    },
  }
}

/** The Go webhook under the same limit. */
export function limitedGo(options: LimitedOptions & { readonly images: number }): Contender {
  const { world, name, cores, requests, inFlight, images } = options
  return {
    name,
    run: async (round, signal) => {
      await using limit = await createCpuLimit(`kip-bench-${process.pid}-go-${round}`)
      const command = [...world.servers.go, await world.imagesFile(images), world.certificates]
      const env = { GOMAXPROCS: '1', PATH: process.env.PATH ?? '' }
      await using started = await startWebhookServer(
        ...([limit.enter(command), env, signal, CORES.both] as const),
      )
      const load = { world, inFlight }
      await postReviews(started, load, WARM_UP, signal)
      await limit.set(cores)
      try {
        await postReviews(started, load, SETTLE, signal)
        return measurementOf(await postReviews(started, load, requests, signal), requests)
      } finally {
        await limit.set(undefined)
      }
    },
  }
}

function namespaceOf(contender: string): string {
  return contender.replaceAll(/[^a-z]+/g, '-')
}
