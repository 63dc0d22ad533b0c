import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { Cluster } from '../../cluster/index.ts'
import { PAUSE_IMAGE } from '../../cluster/node/configuration.ts'
import { enterNode } from '../../cluster/node/node.ts'

const HEARD_MS = 100

/** Hears from nodes' containerds what they do, without asking them time and again. */
export interface NodeEvents extends Disposable {
  /** When the last of these names was in the list of every node, by `performance.now()`. */
  everywhere(names: readonly string[], signal: AbortSignal): Promise<number>
  /** Containers that were made since, sandboxes not counted. */
  containersMade(): number
}

/** Starts to listen on all nodes of a cluster; what happened before is not heard. */
export async function listenToNodes(cluster: Cluster): Promise<NodeEvents> {
  const heard = new Map<string, number>()
  let changed = Promise.withResolvers<void>()
  let made = 0
  const hear = (node: string, line: string): void => {
    if (line.includes('/containers/create ') && !line.includes(`"${PAUSE_IMAGE}"`)) made += 1
    const name = /\/images\/(?:create|update) .*?"name":"([^"]+)"/.exec(line)?.[1]
    if (name === undefined || heard.has(`${node} ${name}`)) return
    heard.set(`${node} ${name}`, performance.now())
    changed.resolve()
    changed = Promise.withResolvers()
  }
  const children = cluster.nodes.map(({ name }) => {
    const ctr = join(cluster.state.programs.containerd, 'ctr')
    const [program = '', ...args] = [...enterNode(cluster.daemons, name), ctr, '-n', 'k8s.io']
    const child = spawn(program, [...args, 'events'], { stdio: ['ignore', 'pipe', 'ignore'] })
    createInterface({ input: child.stdout }).on('line', (line) => hear(name, line))
    return child
  })
  // `ctr` does not say when it has begun to listen; what it hears of proves it.
  for (const { name } of cluster.nodes) {
    while (!heard.has(`${name} ${PAUSE_IMAGE}`)) {
      await cluster.ctr(name, ['images', 'label', PAUSE_IMAGE, `kip.test/at=${Date.now()}`])
      await delay(HEARD_MS)
    }
  }
  const missing = (names: readonly string[]): boolean =>
    cluster.nodes.some((node) => names.some((name) => !heard.has(`${node.name} ${name}`)))
  return {
    async everywhere(names, signal) {
      const aborted = Promise.withResolvers<void>()
      const stop = (): void => aborted.resolve()
      signal.addEventListener('abort', stop, { once: true })
      while (missing(names)) {
        signal.throwIfAborted()
        await Promise.race([changed.promise, aborted.promise])
      }
      signal.removeEventListener('abort', stop)
      const times = cluster.nodes.flatMap((node) =>
        names.map((name) => heard.get(`${node.name} ${name}`) ?? 0),
      )
      return Math.max(...times)
    },
    containersMade: () => made,
    [Symbol.dispose]: () => {
      for (const child of children) child.kill()
    },
  }
}
