import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Cluster } from '../cluster/index.ts'
import { enterNode } from '../cluster/node/node.ts'
import { waitUntil } from './wait-until.ts'

/** An image that is to be held, by any of these digests: a tag that moves has two. */
export type Held = readonly string[]

/** A look at a node every 100 ms. */
export interface HoldWatch {
  /** Ends it, once the node was looked at often enough to say anything. */
  end(): Promise<HoldReport>
}

export interface HoldReport {
  /** Milliseconds for which one of the images at least had neither container nor mount. */
  readonly unheldMs: number
  /** Images that containerd no longer had at some time. */
  readonly lost: number
}

/** Looks that a report is made of at least; on a busy machine one takes much longer than 100 ms. */
const leastSamples = 10

/** What ends a sample. */
const END = '--'

/**
 * Watches whether images are held on a node: whether there is a container that was made of each, living or ended, or a volume
 * that mounts it. What is, no garbage collection takes.
 */
export async function watchHeld(
  cluster: Cluster,
  node: string,
  wanted: readonly Held[],
): Promise<HoldWatch> {
  const ctr = `${join(cluster.state.programs.containerd, 'ctr')} -n k8s.io`
  const look = `${ctr} images ls; ${ctr} containers ls; grep -o ' /run/[^ ]*/image-volumes/[^ ]*' /proc/self/mountinfo; echo ${END}`
  const script = `while :; do sleep 0.1 & { ${look}; } 2>/dev/null; wait; done`
  const [program = '', ...args] = [...enterNode(cluster.daemons, node), 'sh', '-c', script]
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'ignore'], detached: true })
  const closed = once(child, 'close')
  let lines: string[] = []
  let last = performance.now()
  let samples = 0
  let unheldMs = 0
  const lost = new Set<Held>()
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line !== END) {
      lines.push(line)
      return
    }
    const { present, held } = parseSample(lines)
    lines = []
    const now = performance.now()
    if (samples > 0 && wanted.some((digests) => !digests.some((one) => held.has(one)))) {
      unheldMs += now - last
    }
    for (const digests of wanted) if (!digests.some((one) => present.has(one))) lost.add(digests)
    last = now
    samples += 1
  })
  return {
    async end() {
      try {
        await waitUntil('looks at the node', () => samples >= leastSamples)
      } finally {
        const isOver = child.exitCode !== null || child.signalCode !== null
        if (child.pid !== undefined && !isOver) process.kill(-child.pid, 'SIGKILL')
        await closed
      }
      return { unheldMs, lost: lost.size }
    },
  }
}

/** Digests that are on the node, and those of them that something holds. */
export function parseSample(lines: readonly string[]): {
  readonly present: ReadonlySet<string>
  readonly held: ReadonlySet<string>
} {
  const digestOf = new Map<string, string>()
  const held = new Set<string>()
  for (const line of lines) {
    const [first = '', second = '', third = ''] = line.trim().split(/\s+/)
    const mounted = /\/image-volumes\/[^/]+\/([0-9a-f]{64})$/.exec(line)?.[1]
    if (mounted !== undefined) held.add(`sha256:${mounted}`)
    // REF TYPE DIGEST, then CONTAINER IMAGE RUNTIME.
    else if (third.startsWith('sha256:')) digestOf.set(first, third)
    else if (/^[0-9a-f]{64}$/.test(first)) held.add(digestOf.get(second) ?? second)
  }
  return { present: new Set(digestOf.values()), held }
}
