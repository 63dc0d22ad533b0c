import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ClusterError } from './errors.ts'

export interface LockOptions {
  readonly signal?: AbortSignal
  /** Called once when another process holds the lock. */
  readonly onWait?: () => void
}

/**
 * Runs work while no other process of this machine holds the lock of that file.
 *
 * The kernel's lock is held by a `flock` child that lives as long as its standard input: however this process ends, the
 * pipe closes and the lock is free, so there is nothing stale to find and no moment between looking and taking.
 *
 * @param path - the lock file; made when missing, never removed
 * @throws ClusterError (KIP_CLUSTER_PREREQUISITE) when `flock` (util-linux) is missing
 */
export async function withLock<T>(
  path: string,
  work: () => Promise<T>,
  options: LockOptions = {},
): Promise<T> {
  options.signal?.throwIfAborted()
  await mkdir(dirname(path), { recursive: true })
  const holder = spawn('flock', [path, 'sh', '-c', 'echo held; exec cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    ...(options.signal && { signal: options.signal }),
  })
  const held = new Promise<void>((resolve, reject) => {
    holder.stdout.once('data', () => resolve())
    holder.once('exit', (code) =>
      reject(new ClusterError('KIP_CLUSTER_COMMAND', `flock ${path}: exit code ${code}`)),
    )
    holder.once('error', (cause) => {
      if (options.signal?.aborted) reject(options.signal.reason)
      else {
        const text = `flock cannot be started (${cause.message}); install util-linux.`
        reject(new ClusterError('KIP_CLUSTER_PREREQUISITE', text, { cause }))
      }
    })
  })
  // An abort while the work runs kills the holder too; the work has its own signal and ends by it.
  holder.on('error', () => undefined)
  holder.stdin.on('error', () => undefined)
  const waiting = setTimeout(() => options.onWait?.(), 500)
  try {
    await held
  } finally {
    clearTimeout(waiting)
  }
  try {
    return await work()
  } finally {
    const ended = holder.exitCode === null && holder.signalCode === null && once(holder, 'exit')
    holder.stdin.end()
    await ended
  }
}
