import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** A door to a server of loopback that is as far away as another site. */
export interface DelayProxy {
  readonly host: string
  close(): Promise<void>
}

/**
 * Starts a delay proxy.
 *
 * @param program - `delay-proxy`
 * @param target - `host:port`
 */
export async function startDelayProxy(
  program: string,
  target: string,
  roundTripMs: number,
): Promise<DelayProxy> {
  const child = spawn(program, ['-round-trip', `${roundTripMs}ms`, target], {
    // It ends when its standard input does, however this process ends.
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {},
  })
  const [port] = await once(child.stdout, 'data')
  return { host: `127.0.0.1:${String(port).trim()}`, close: () => end(child) }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const ended = once(child, 'exit')
  child.stdin?.end()
  await ended
}
