/**
 * kip's reflector of pods and its inventory alone, as discovery runs them: `client.ts SERVER FOLDER [stay]`. FOLDER has `ca.crt`,
 * and `tls.crt` and `tls.key` where the server asks for them. Prints a line of JSON when the inventory is complete, and with
 * `stay` another when standard input ends, with what memory was like, and the event loop since a line `loop` came.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Inventory } from '../../../src/discovery/inventory.ts'
import { createPodReader, type PodShape, type PodUse } from '../../../src/discovery/pod.ts'
import { createReader, readMetadata } from '../../../src/discovery/reader.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { HttpKubeClient } from '../../../src/kube/http-client.ts'
import { builtInMessages } from '../../../src/kube/protobuf-schemas.ts'
import { Reflector } from '../../../src/kube/reflector.ts'
import { type ClientReport, WATCH_LOOP } from './client-report.ts'
import { type LoopBlocks, watchLoop } from './loop-blocks.ts'

const [server = '', folder = '', stays] = process.argv.slice(2)

const file = (name: string): string | undefined => {
  const path = join(folder, name)
  return existsSync(path) ? readFileSync(path, 'utf8') : undefined
}
const [ca, cert, key] = ['ca.crt', 'tls.crt', 'tls.key'].map(file)
const credentials = {
  headers: {},
  tls: { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) },
}
const client = new HttpKubeClient({
  access: { server, namespace: 'default', credentials: async () => credentials },
})

const LOOP_TICK_MS = 2

const log = {
  debug() {},
  info() {},
  warn: complain,
  error: complain,
}

function complain(fields: object, text: string): void {
  process.stderr.write(`${text} ${JSON.stringify(fields)}\n`)
}

/** All that is kept of pods. */
interface Kept {
  readonly reflector: Reflector<PodUse>
  readonly inventory: Inventory
  events: number
}

function watchPods(): Kept {
  const inventory = new Inventory(() => {})
  const read = createReader({
    mapping: createMapping({ registry: '', mapping: 'path' }),
    sourceOfCopy: () => undefined,
    filter: () => true,
    // The peer keeps what places a pod, too.
    readsDemands: true,
  })
  const reflector = new Reflector<PodUse>({
    client,
    resource: { group: '', version: 'v1', plural: 'pods' },
    protobuf: builtInMessages(readMetadata)['/pods'] ?? [],
    ...createPodReader(read),
    onEvent: ({ type, key, value, previous }) => {
      const { used } = value.shape
      if (type === 'deleted') inventory.changePod(key, undefined, used)
      else inventory.changePod(key, used, previous?.shape.used)
    },
    metrics: {
      event: (type) => {
        if (type === 'added' || type === 'modified') kept.events += 1
      },
    },
    log,
  })
  const kept: Kept = { reflector, inventory, events: 0 }
  return kept
}

/** Heap in use, with what is no longer needed thrown away where Node lets us. */
function heap(): number {
  globalThis.gc?.()
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}

/** A digest tells whether two programs have the same: of each image how many owners use it, in how many pods. */
function reportOf({ reflector, inventory, events }: Kept): ClientReport {
  const owners = new Set<string>()
  for (const { shape } of reflector.values()) owners.add(shape.used.owner)
  owners.delete('')
  const nothing = { owner: '', ignored: false, references: [], invalid: [], asksStore: false }
  // Pods of a workload count once it is known.
  for (const owner of owners) inventory.set(owner, nothing)
  const lines = [...inventory.references()].map((reference) => {
    const { workloads, pods } = inventory.usersOf(reference, () => true)
    return `${reference} ${workloads} ${pods}\n`
  })
  const digest = createHash('sha256').update(lines.sort().join('')).digest('hex')
  return { pods: reflector.size, images: lines.length, events, digest }
}

function tell(report: ClientReport): void {
  process.stdout.write(`${JSON.stringify(report)}\n`)
}

/** What the inventory takes by itself: another one of the same pods, beside the first. */
function inventoryBytes({ reflector, inventory }: Kept): number {
  const start = heap()
  const twin = new Inventory(() => {})
  const uses: PodUse[] = []
  const shapes = new Map<PodShape, PodShape>()
  for (const [key, { shape, node }] of reflector.entries()) {
    const copy = shapes.get(shape) ?? structuredClone(shape)
    shapes.set(shape, copy)
    uses.push({ shape: copy, node })
    twin.changePod(key, copy.used, undefined)
  }
  const bytes = heap() - start
  if (uses.length !== reflector.size || twin.size !== inventory.size) throw new Error('no twin')
  return bytes
}

function blocksOf({ longestMs, latestMs }: LoopBlocks): Pick<ClientReport, 'blockMs' | 'lateMs'> {
  return { blockMs: longestMs, lateMs: latestMs }
}

let kept: Kept | undefined = watchPods()
const stop = new AbortController()
const listing = watchLoop(LOOP_TICK_MS)
const running = kept.reflector.run(stop.signal)
await kept.reflector.synced
const listBlocks = blocksOf(listing.stop())
tell({ ...reportOf(kept), ...listBlocks })
let watching: ReturnType<typeof watchLoop> | undefined
if (stays !== undefined) {
  for await (const line of createInterface({ input: process.stdin })) {
    if (line === WATCH_LOOP) watching ??= watchLoop(LOOP_TICK_MS)
  }
}
const blocks = watching && blocksOf(watching.stop())
stop.abort()
await running
await client.close()
if (stays !== undefined) {
  const report = reportOf(kept)
  const ofInventory = inventoryBytes(kept)
  const full = heap()
  // What was compiled meanwhile stays, and counts for no pod.
  kept = undefined
  const total = full - heap()
  tell({
    ...report,
    ...blocks,
    podBytes: total / report.pods,
    beyondBytes: (total - ofInventory) / report.pods,
  })
}
