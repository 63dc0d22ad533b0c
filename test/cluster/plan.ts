import { type Ipv4Range, overlaps, parseRange } from './ipv4.ts'
import type { NodeSettings } from './node/settings.ts'

/** `control-plane`: on the machine's loopback, without root. `nodes`: in namespaces of its own, with real nodes. */
export type ClusterLevel = 'control-plane' | 'nodes'

/** The addresses of a cluster; all follow from its level and one number. */
export interface AddressPlan {
  readonly level: ClusterLevel
  /** The whole range: 10.N.0.0/16, or 127.N.0.0/16 without nodes. */
  readonly range: string
  /** Of the control plane: the bridge that the nodes hang on, or plain loopback. */
  readonly controlPlane: string
  readonly registries: { readonly origin: string; readonly backup: string; readonly plain: string }
  /** The ClusterIPs of Services. */
  readonly services: string
}

export interface NodePlan {
  readonly name: string
  readonly index: number
  readonly address: string
  readonly podRange: string
  readonly settings?: NodeSettings
}

/** Second numbers of the ranges, in the order they are tried; the low ones are what routers at home and Docker take. */
const CANDIDATES = Array.from({ length: 128 }, (_, index) => 96 + index)

/**
 * Picks the addresses of a new cluster: the first range that neither a route of the machine nor another cluster has.
 *
 * @param options.routes - destinations of the machine's routes, as addresses with an optional prefix length
 * @param options.taken - `range` of each cluster that is there
 * @returns undefined when every range is taken
 */
export function pickAddresses(options: {
  readonly level: ClusterLevel
  readonly routes: readonly string[]
  readonly taken: readonly string[]
}): AddressPlan | undefined {
  const first = options.level === 'nodes' ? 10 : 127
  // Every 127 address is the machine's own by one route for all; only other clusters matter there.
  const routes = first === 10 ? options.routes : []
  const used = [...routes, ...options.taken].map(parseRange).filter((range) => range !== undefined)
  const free = (range: Ipv4Range): boolean => !used.some((other) => overlaps(range, other))
  for (const second of CANDIDATES) {
    const range = parseRange(`${first}.${second}.0.0/16`)
    if (range && free(range)) return addressPlan(options.level, `${first}.${second}`)
  }
  return undefined
}

function addressPlan(level: ClusterLevel, start: string): AddressPlan {
  return {
    level,
    range: `${start}.0.0/16`,
    controlPlane: level === 'nodes' ? `${start}.0.1` : '127.0.0.1',
    registries: { origin: `${start}.0.2`, backup: `${start}.0.3`, plain: `${start}.0.4` },
    // Service addresses are never loopback ones, and without nodes nobody dials them.
    services: level === 'nodes' ? `${start}.240.0/20` : '10.96.0.0/16',
  }
}

/** Nodes of one cluster at most: their bridge addresses are .11 to .209, their pods' ranges .11.0 to .209.0. */
export const MAXIMUM_NODES = 199

/** Name and addresses of a node; `index` counts from 1. */
export function nodePlan(plan: AddressPlan, index: number, settings?: NodeSettings): NodePlan {
  if (!Number.isInteger(index) || index < 1 || index > MAXIMUM_NODES) {
    throw new RangeError(`a node's index is 1 to ${MAXIMUM_NODES}, not ${index}`)
  }
  const start = plan.range.split('.').slice(0, 2).join('.')
  return {
    name: `n${index}`,
    index,
    address: `${start}.0.${10 + index}`,
    podRange: `${start}.${10 + index}.0/24`,
    ...(settings && { settings }),
  }
}

/** The first Service address, which is always the API server's own Service. */
export function kubernetesServiceAddress(plan: AddressPlan): string {
  return plan.services.replace(/\.0\/\d+$/, '.1')
}
