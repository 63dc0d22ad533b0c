import { getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import type { Log } from '../kube/log.ts'
import { resourceOf, resourcePath } from '../kube/resource.ts'
import type { Node } from '../kube/types.ts'
import type { Attempts } from './attempts.ts'
import type { ObservedShard } from './daemon-set.ts'
import { type Ground, reaches } from './ground.ts'
import { isBeingSetUp, type NodeView, startupTaint } from './node-view.ts'
import { isMissing } from './placement.ts'
import type { Survey } from './survey.ts'

export interface GateInput {
  readonly nodes: readonly NodeView[]
  readonly shards: readonly ObservedShard[]
  readonly seen: Survey
  readonly ground: Ground
  /** How old a node may be that is not released yet. */
  readonly deadlineMs: number
  /** Milliseconds since the epoch. */
  readonly now: number
}

export interface Release {
  readonly node: string
  readonly why: 'ready' | 'deadline' | 'not served'
}

export interface GateVerdict {
  readonly releases: readonly Release[]
  /** Milliseconds until time alone releases another one. */
  readonly nextMs: number
}

/**
 * Which nodes with the startup taint are to be released: where every holding shard that is for the node has a ready pod
 * of its present template, where none will ever come, and where the deadline has passed. One that others still set up
 * waits for these, or for the deadline. Pure.
 */
export function openGate(input: GateInput): GateVerdict {
  const { nodes, deadlineMs, now } = input
  const releases: Release[] = []
  let nextMs = Number.POSITIVE_INFINITY
  for (const node of nodes) {
    if (!node.gated) continue
    const leftMs = node.created + deadlineMs - now
    const why = reason(node, leftMs, input)
    if (why !== undefined) releases.push({ node: node.name, why })
    else nextMs = Math.min(nextMs, leftMs)
  }
  return { releases, nextMs }
}

function reason(node: NodeView, leftMs: number, input: GateInput): Release['why'] | undefined {
  const { shards, seen, ground } = input
  const overdue = leftMs > 0 ? undefined : 'deadline'
  // Which shards are for it is not known before others are done with it; until then their taints keep pods off.
  if (isBeingSetUp(node)) return overdue
  const kind = ground.kindOf(node.name)
  if (kind === undefined) return 'not served'
  const critical = shards.filter(
    (shard) => shard.kind === 'holding' && !isMissing(shard) && reaches(shard, kind, ground),
  )
  const holds = critical.every((shard) =>
    seen
      .podsOf(shard)
      .some((pod) => pod.node === node.name && pod.ready && pod.template === shard.template),
  )
  return holds ? 'ready' : overdue
}

/**
 * Releases nodes as it was decided.
 *
 * @returns milliseconds after which to look again
 */
export async function releaseNodes(
  { releases, nextMs }: GateVerdict,
  {
    client,
    log,
    attempts,
  }: {
    readonly client: KubeClient
    readonly log: Log
    readonly attempts: Pick<Attempts, 'try'>
  },
  signal: AbortSignal,
): Promise<number> {
  const retries: number[] = []
  for (const { node, why } of releases) {
    const retryMs = await attempts.try(`node ${node}`, async () => {
      await releaseNode(client, node, signal)
      log.info({ node, why }, 'node released of its startup taint')
    })
    retries.push(retryMs)
  }
  return Math.min(nextMs, ...retries)
}

/** Takes the taint off, and nothing that somebody else put on meanwhile. */
async function releaseNode(client: KubeClient, name: string, signal: AbortSignal): Promise<void> {
  const node = await getObject<Node>(client, resourceOf('nodes'), name, { signal })
  const taints = node?.spec?.taints ?? []
  const left = taints.filter(({ key }) => key !== startupTaint)
  if (node === undefined || left.length === taints.length) return
  await client.request({
    method: 'PATCH',
    path: resourcePath(resourceOf('nodes'), name),
    contentType: 'application/merge-patch+json',
    body: {
      metadata: { resourceVersion: node.metadata?.resourceVersion },
      spec: { taints: left },
    },
    signal,
  })
}
