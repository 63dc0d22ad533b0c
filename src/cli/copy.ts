import {
  type CopyEvent,
  type CopyOptions,
  type Counters,
  copyImage,
  createRegistryClient,
  openMetrics,
  planCopy,
  proxyFromVariables,
  type RegistryClient,
  type RegistryClientOptions,
  serverOf,
} from '@containers/image-copy'
import { type CopyArguments, copyUsage, parseCopyArguments } from './copy/arguments.ts'
import { copyCredentials } from './copy/credentials.ts'
import { ExtraTags } from './copy/extra-tags.ts'
import { outcomeOfFailure } from './copy/failure.ts'
import { readHostOptions } from './copy/host-options.ts'
import { inLanes } from './copy/in-lanes.ts'
import { type CopyEntry, type CopyPair, readCopyEntry, readCopyList } from './copy/items.ts'
import { KnownFile } from './copy/known-file.ts'
import { readNamed, readNamedInput } from './copy/named-file.ts'
import { type Outcome, Tally } from './copy/outcome.ts'
import { faultOfNewFile, replaceFile } from './copy/replace-file.ts'
import { Reporter } from './copy/reporter.ts'
import { selectImages } from './copy/select-images.ts'
import { allUsable, UsageError } from './errors.ts'
import type { Invocation } from './invocation.ts'

/** `kip copy`: copies images between registries, one, tags of a repository, or a list. */
export async function copy(invocation: Invocation): Promise<number> {
  try {
    const args = parseCopyArguments(invocation.argv)
    if (args.help) {
      invocation.print(copyUsage)
      return 0
    }
    return await copyAll(args, invocation)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    for (const fault of error.faults) invocation.complain(`kip copy: ${fault}`)
    invocation.complain('See kip copy --help.')
    return 2
  }
}

async function copyAll(args: CopyArguments, invocation: Invocation): Promise<number> {
  const { env, uid, readFile, readInput, complain } = invocation
  const [entries, hostOptions, credentialsFor] = await allUsable([
    readEntries(args, invocation),
    readHostOptions(args.hosts, readFile),
    copyCredentials({ ...args, env, uid, readFile, readInput, complain }),
    requireFolder(args),
  ])
  const credentials = credentialsFor(entries)
  // A dry run asks for no mount.
  const isRemembering = args.knownFile !== undefined && !args.dryRun
  const known = isRemembering ? new KnownFile(args.knownFile, invocation) : undefined
  const blobPlaces = known?.places
  const options = { ...hostOptions, credentials, blobPlaces }
  const client = createClient(args, invocation, entries, options)
  const extraTags = args.extra && new ExtraTags(entries, args.extra, args.hosts.http)
  const reporter = new Reporter({ invocation, output: args.output })
  const { signal } = invocation
  const { concurrency } = args
  const started = process.uptime()
  const tally = new Tally()
  let isWritten = true
  const tell = (pair: CopyPair, outcome: Outcome): void => {
    tally.add(outcome)
    extraTags?.wanted.outcome(pair, outcome)
    reporter.outcome(pair, outcome)
  }
  try {
    const run = { concurrency, signal, onEvent: reporter.event }
    const { images, pairs } = await selectImages(client, entries, {
      ...run,
      platforms: args.platforms,
      onFailure: tell,
      onSelected: (entry, tags) => extraTags?.wanted.selected(entry, tags),
      onDated: (pair, dated) => {
        extraTags?.wanted.dated(pair, dated)
        reporter.dated(pair, dated)
      },
    })
    reporter.expect(images)
    await inLanes(concurrency, pairs, async (pair) => {
      tell(pair, await copyPair(client, pair, args, signal, reporter.event))
    })
    await extraTags?.handle(client, { ...run, dryRun: args.dryRun, onExtra: reporter.extra })
  } finally {
    // The client is not closed: its idle connections keep no process alive, and the process's end closes them at once.
    reporter.end()
    known?.save()
    isWritten = writeMetrics({ ...client.counters(), images: tally.images() }, args, invocation)
  }
  const extra = extraTags?.summary()
  const images = tally.summary(process.uptime() - started)
  reporter.summary({ ...images, ...(extra && { extraTags: extra }) })
  return images.failed + images.stopped + (extra?.failed ?? 0) === 0 && isWritten ? 0 : 1
}

/** @throws UsageError when the file of the metrics has nowhere to be */
async function requireFolder({ metricsFile }: CopyArguments): Promise<void> {
  const fault = metricsFile === undefined ? undefined : faultOfNewFile(metricsFile)
  if (fault !== undefined) throw new UsageError([`--metrics-file ${metricsFile}: ${fault}`])
}

/** @returns whether all that was asked for is written; else it was told why not */
function writeMetrics(
  counters: Counters,
  { metricsFile }: CopyArguments,
  { complain }: Invocation,
): boolean {
  if (metricsFile === undefined) return true
  try {
    // For whoever collects them, who is another user.
    replaceFile(metricsFile, openMetrics(counters, 'kip_copy'), 0o666)
    return true
  } catch (error) {
    complain(`kip copy: --metrics-file ${metricsFile}: ${(error as Error).message}`)
    return false
  }
}

async function readEntries(
  { pair, selection, list = '' }: CopyArguments,
  { readFile, readInput }: Invocation,
): Promise<readonly CopyEntry[]> {
  if (pair !== undefined) return [await readCopyEntry(pair, selection)]
  if (list === '-') return readCopyList(await readNamedInput(readInput), 'standard input')
  return readCopyList(readNamed('--from-file', list, readFile), list)
}

function createClient(
  args: CopyArguments,
  { env, version }: Invocation,
  pairs: readonly CopyPair[],
  options: Pick<RegistryClientOptions, 'blobPlaces' | 'ca' | 'credentials' | 'hosts'>,
): RegistryClient {
  const { http, mirrors } = args.hosts
  const registries = [
    ...pairs.flatMap((pair) => [pair.source.registry, pair.target.registry]),
    ...mirrors.map(({ place }) => place.replace(/\/.*/s, '')),
  ]
  try {
    const proxy = proxyFromVariables(env)
    for (const host of new Set(registries)) proxy(serverOf(host, http.includes(host)))
    return createRegistryClient({ ...options, proxy, userAgent: `kip/${version}` })
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    throw new UsageError([error.message])
  }
}

/** Never rejects: what went wrong is the outcome, and stops no other image. */
async function copyPair(
  client: RegistryClient,
  { source, target }: CopyPair,
  args: CopyArguments,
  signal: AbortSignal,
  onEvent: (event: CopyEvent) => void,
): Promise<Outcome> {
  const started = process.uptime()
  const options: CopyOptions = {
    platforms: args.platforms,
    referrers: args.referrers,
    foreignLayers: args.foreignLayers,
    recheck: args.recheck,
    verify: args.verify,
    signal,
    onEvent,
  }
  try {
    signal.throwIfAborted()
    if (args.dryRun) {
      const plan = await planCopy(client, source, target, options)
      const { digest, bytes, blobs, skipped } = plan
      return plan.upToDate
        ? { status: 'present', digest, bytes, blobs, skipped, mounted: 0, seconds: 0 }
        : { status: 'to-copy', digest, bytes, blobs, skipped }
    }
    const { digest, bytes, blobs, skipped, mounted } = await copyImage(
      client,
      source,
      target,
      options,
    )
    const seconds = process.uptime() - started
    const status = bytes + blobs > 0 ? 'copied' : 'present'
    return { status, digest, bytes, blobs, skipped, mounted, seconds }
  } catch (error) {
    return outcomeOfFailure(error, signal)
  }
}
