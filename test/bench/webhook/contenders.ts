import { execFile } from 'node:child_process'
import { isDeepStrictEqual, promisify } from 'node:util'
import { imageEnvironment } from '../../../docker/bundle.ts'
import { ContenderError } from '../harness/measure.ts'
import type { Measurement } from '../harness/measurement.ts'
import type { Contender } from '../harness/rounds.ts'
import { CORES, startWebhookServer, type WebhookServer } from './webhook-server.ts'
import type { ServerName, World } from './world.ts'

export interface LoadOptions {
  readonly world: World
  readonly server: ServerName
  /** Default: the server's. */
  readonly name?: string
  /** Images that the server knows. */
  readonly images: number
  /** Measured requests. */
  readonly requests: number
  readonly inFlight: number
}

/** What `load-reviews` prints. */
export interface Load {
  readonly wallMicros: number
  readonly cpuMicros: number
  readonly p99Micros: number
  readonly peakRssKib: number
  readonly answer: string
}

const run = promisify(execFile)

/** Figures of time are those of so many requests. */
const PER = 1_000
/**
 * After these a server answers as it will in an hour: V8 compiles on this core until then. Of four batches in a row, 5,000
 * requests and three times 8,000, the 99th percentile was 14, 8.2, 6.1 and 2.9 ms, and a request took 207, 169, 145 and 132 µs.
 */
export const WARM_UP = 25_000

/** A server under load, started anew for each run. */
export function loadContender(options: LoadOptions): Contender {
  const { world, server, images, requests, inFlight } = options
  return {
    name: options.name ?? server,
    run: async (_round, signal) => {
      const command = [...world.servers[server], await world.imagesFile(images), world.certificates]
      const env = { ...imageEnvironment(), GOMAXPROCS: '1' }
      await using started = await startWebhookServer(command, env, signal)
      const load = { world, inFlight }
      await postReviews(started, load, WARM_UP, signal)
      return measurementOf(await postReviews(started, load, requests, signal), requests)
    },
  }
}

/** @throws ContenderError when two servers answer a review differently */
export async function checkSameAnswers(world: World, signal: AbortSignal): Promise<void> {
  const answers = await Promise.all(
    (['kip', 'go'] as const).map(async (server) => {
      const command = [...world.servers[server], await world.imagesFile(10), world.certificates]
      await using started = await startWebhookServer(command, {}, signal)
      return readAnswer((await postReviews(started, { world, inFlight: 1 }, 1, signal)).answer)
    }),
  )
  const [ours, theirs] = answers
  if (isDeepStrictEqual(ours, theirs)) return
  throw new ContenderError(
    `the servers answer differently:\n${JSON.stringify(ours)}\n${JSON.stringify(theirs)}`,
  )
}

/** An answer with its patch and what the patch says about originals as they are meant, not as they are written. */
function readAnswer(answer: string): unknown {
  const review = JSON.parse(answer)
  const patch = JSON.parse(Buffer.from(review.response.patch, 'base64').toString())
  const operations = patch.map((operation: { path: string; value: string }) =>
    operation.path.includes('/annotations/')
      ? { ...operation, value: JSON.parse(operation.value) }
      : operation,
  )
  return { ...review, response: { ...review.response, patch: operations } }
}

export interface PostOptions {
  readonly world: Pick<World, 'load' | 'certificates' | 'reviewFile'>
  readonly inFlight: number
  /** File with the review, and PEM file of who signed the server's certificate. Default: the world's. */
  readonly body?: string
  readonly authority?: string
}

/** Posts a review so many times, and tells what that took and cost the server's process. */
export async function postReviews(
  server: Pick<WebhookServer, 'address' | 'process'>,
  options: PostOptions,
  requests: number,
  signal: AbortSignal,
): Promise<Load> {
  const { world, inFlight } = options
  const args = {
    address: server.address,
    path: '/mutate',
    authority: options.authority ?? `${world.certificates}/ca.crt`,
    body: options.body ?? world.reviewFile,
    'in-flight': inFlight,
    requests,
    process: server.process,
  }
  const flags = Object.entries(args).flatMap(([name, value]) => [`-${name}`, String(value)])
  const { stdout } = await run('taskset', ['--cpu-list', CORES.load, world.load, ...flags], {
    env: { GOMAXPROCS: '1' },
    signal,
    maxBuffer: 2 ** 24,
  })
  return JSON.parse(stdout)
}

/** Figures of time are those of 1,000 requests. */
export function measurementOf(load: Load, requests: number): Measurement {
  const part = (micros: number): number => ((micros / requests) * PER) / 1000
  return {
    wallMs: part(load.wallMicros),
    cpuMs: part(load.cpuMicros),
    p99Ms: load.p99Micros / 1000,
    rssMib: load.peakRssKib / 1024,
  }
}
