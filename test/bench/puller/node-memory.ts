import { once } from 'node:events'
import { readdir, readFile, readlink, writeFile } from 'node:fs/promises'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Cluster } from '../../cluster/index.ts'
import { nodeCgroup } from '../../cluster/node/cgroups.ts'
import { CONTAINERD_DEBUG } from '../../cluster/node/configuration.ts'
import { nodeDaemons } from '../../cluster/node/node.ts'

/** Memory of one node, in bytes. */
export interface NodeMemory {
  /** What the cgroups of its pods are charged for. */
  readonly pods: number
  /** Anonymous memory of the shims, and of containerd; shared pages by their share. */
  readonly shims: number
  readonly containerd: number
}

/** Go's scavenger gives back what was collected little by little: looked at so often, until it has, and so long at most. */
const lookMs = 4000
const settleMs = 30_000
/** Between two looks, of the whole. */
const unchanged = 0.002

/** Reads a node's memory at rest: with containerd's heap collected, and the page cache dropped. */
export async function nodeMemory(
  cluster: Cluster,
  node: string,
  signal: AbortSignal,
): Promise<NodeMemory> {
  const containerd = await containerdPid(
    cluster.daemons.identity(nodeDaemons(node).containerd)?.pid ?? 0,
  )
  await collectHeap(containerd)
  await settled(containerd, signal)
  await writeFile('/proc/sys/vm/drop_caches', '3')
  const root = '/sys/fs/cgroup/memory'
  const pods = join(root, nodeCgroup(cluster.state.id, node), 'kubepods')
  const usage = Number(await readFile(join(pods, 'memory.usage_in_bytes'), 'utf8').catch(() => '0'))
  const shims = await Promise.all((await shimsBeside(containerd)).map(proportional))
  return {
    pods: usage,
    shims: shims.reduce((one, other) => one + other, 0),
    containerd: await proportional(containerd),
  }
}

export function total({ pods, shims, containerd }: NodeMemory): number {
  return pods + shims + containerd
}

/** Shims in the process namespace of a node's containerd. */
async function shimsBeside(containerd: number): Promise<readonly number[]> {
  const namespaceOf = (pid: string | number): Promise<string> =>
    readlink(`/proc/${pid}/ns/pid`).catch(() => '')
  const own = await namespaceOf(containerd)
  const found: number[] = []
  for (const entry of await readdir('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    const command = await readFile(join('/proc', entry, 'comm'), 'utf8').catch(() => '')
    if (!command.startsWith('containerd-shim')) continue
    if ((await namespaceOf(entry)) === own) found.push(Number(entry))
  }
  return found
}

async function containerdPid(pid: number): Promise<number> {
  const command = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '')
  if (command.trim() === 'containerd') return pid
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '')
  const [child] = children.trim().split(' ')
  if (child === undefined || child === '') throw new Error(`process ${pid} is no containerd`)
  return await containerdPid(Number(child))
}

/** Has a containerd collect its heap now, as Go would within two minutes. */
async function collectHeap(pid: number): Promise<void> {
  const socketPath = join('/proc', String(pid), 'root', CONTAINERD_DEBUG)
  const [answer]: [IncomingMessage] = (await once(
    get({ socketPath, path: '/debug/pprof/heap?gc=1' }),
    'response',
  )) as [IncomingMessage]
  if (answer.statusCode !== 200) throw new Error(`containerd's heap: ${answer.statusCode}`)
  await answer.toArray()
}

async function settled(pid: number, signal: AbortSignal): Promise<void> {
  const end = performance.now() + settleMs
  let before = Number.POSITIVE_INFINITY
  for (;;) {
    await delay(lookMs, undefined, { signal })
    const now = await proportional(pid)
    if (performance.now() > end || Math.abs(before - now) < unchanged * now) return
    before = now
  }
}

/** What a process has to itself, and its share of what it shares; mapped files are page cache, and not counted. */
async function proportional(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '')
  return Number(/^Pss_Anon:\s+(\d+) kB/m.exec(text)?.[1] ?? 0) * 1024
}
