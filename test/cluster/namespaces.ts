import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { ClusterError } from './errors.ts'
import type { DaemonSpec } from './process.ts'

/** What of another process's surroundings a command is to run in. */
export type NamespaceKind = 'net' | 'mount' | 'pid' | 'uts'

/**
 * The start of a command line that runs the rest in the namespaces of a process.
 *
 * Not `ip netns exec`: that mounts /sys anew, and the cgroups below it are gone. With `pid` the result stays as the parent of
 * the command (`forks` of a daemon).
 *
 * @param options.folder - working directory there; default: its root when `mount` is entered, else the present one
 */
export function enterNamespaces(
  pid: number,
  kinds: readonly NamespaceKind[],
  options: { readonly folder?: string } = {},
): ['nsenter', ...string[]] {
  const folder = options.folder ? [`--wdns=${options.folder}`] : []
  return ['nsenter', `--target=${pid}`, ...kinds.map((kind) => `--${kind}`), ...folder, '--']
}

/**
 * A process whose only work is to keep namespaces alive; they are named by its pid and leave no file or mount on the machine.
 *
 * A node has a pid namespace too: the holder is its init, reaps what is orphaned there, and takes every process of the node
 * with it when it dies. `unshare` hands its own death on to it.
 */
export function namespaceHolder(options: {
  readonly name: string
  readonly kind: 'control-plane' | 'node'
  /** The `sleep` program. */
  readonly sleep: string
}): DaemonSpec {
  const { name, kind, sleep } = options
  const both = ['--net', '--mount', '--propagation=private']
  const node = ['--pid', '--uts', '--fork', '--kill-child=KILL', '--mount-proc']
  const own = kind === 'node' ? node : []
  return {
    name,
    command: ['unshare', ...both, ...own, '--', sleep, 'infinity'],
    forks: kind === 'node',
  }
}

/** Waits until a holder's namespaces are made: it has become `sleep` then. */
export async function holderReady(pid: number, signal?: AbortSignal): Promise<void> {
  const deadline = performance.now() + 10_000
  while (readFileSync(`/proc/${pid}/comm`, 'utf8').trim() !== 'sleep') {
    if (performance.now() > deadline) {
      const text = `process ${pid} made no namespaces in 10 s`
      throw new ClusterError('KIP_CLUSTER_COMPONENT', text)
    }
    await delay(5, undefined, signal && { signal })
  }
}
