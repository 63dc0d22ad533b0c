import { runCommand, tryCommand } from './command.ts'
import { enterNamespaces } from './namespaces.ts'

/**
 * How packets end: `unreachable` tells the sender at once, as a router without a way does, and resets connections that
 * are open; `silent` lets them vanish, and the sender finds out by its own patience.
 */
export type CutKind = 'unreachable' | 'silent'

export interface Cut {
  /** A process in the network namespace that the packets leave from or pass through. */
  readonly pid: number
  /** Where nothing arrives any more. */
  readonly address: string
  /** Only packets of this sender, such as one pod; default: all. */
  readonly source?: string
}

/** Lets nothing through to an address. */
export async function cutOff(cut: Cut, kind: CutKind = 'unreachable'): Promise<void> {
  await restore(cut)
  for (const rule of cutRules(cut, kind)) await runCommand(...iptables(cut, ['-I', ...rule]))
}

/** Ends a cut; nothing happens where there is none. */
export async function restore(cut: Cut): Promise<void> {
  for (const rule of [...cutRules(cut, 'unreachable'), ...cutRules(cut, 'silent')])
    await tryCommand(...iptables(cut, ['-D', ...rule]))
}

/** Rules of iptables, chain first, in the order in which they are put at the head of their chains. */
export function cutRules(
  { address, source }: Omit<Cut, 'pid'>,
  kind: CutKind,
): readonly (readonly string[])[] {
  const match = ['-d', address, ...(source ? ['-s', source] : [])]
  // A pod's packets pass through its node, those of the node's own processes begin there.
  const chains = source ? ['FORWARD'] : ['FORWARD', 'OUTPUT']
  const unreachable = [
    ['-p', 'tcp', '-j', 'REJECT', '--reject-with', 'tcp-reset'],
    ['-p', 'tcp', '--syn', '-j', 'REJECT', '--reject-with', 'icmp-host-unreachable'],
  ]
  const ends = kind === 'silent' ? [['-j', 'DROP']] : unreachable
  return chains.flatMap((chain) => ends.map((end) => [chain, ...match, ...end]))
}

function iptables({ pid }: Cut, rule: readonly string[]): [string, readonly string[]] {
  const [enter, ...args] = enterNamespaces(pid, ['net'])
  return [enter, [...args, 'iptables', '--wait', ...rule]]
}
