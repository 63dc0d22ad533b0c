import { readlinkSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import {
  allProcesses,
  identityOf,
  isAlive,
  ownAncestors,
  type ProcessIdentity,
} from './process-identity.ts'

/** Name of the network namespace that a process is in (`net:[4026532198]`); undefined when it is gone. */
export function networkOf(pid: number): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return undefined
  }
}

/**
 * Ends whatever still lives in network namespaces of a cluster, such as a command that somebody left running there: as long
 * as one process is in a namespace, it and its links stay. This process and those that started it are spared.
 *
 * @param networks - names from {@link networkOf}; the machine's own is never among them
 * @returns what was ended
 */
export async function endInhabitants(
  networks: ReadonlySet<string>,
): Promise<readonly ProcessIdentity[]> {
  const spared = ownAncestors()
  const found = allProcesses()
    .filter((pid) => !spared.has(pid) && networks.has(networkOf(pid) ?? ''))
    .map(identityOf)
    .filter((identity) => identity !== undefined)
  for (const { pid } of found.filter(isAlive)) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It ended by itself.
    }
  }
  const deadline = performance.now() + 5_000
  while (found.some(isAlive) && performance.now() < deadline) await delay(10)
  return found
}
