import { setTimeout } from 'node:timers/promises'

/**
 * Waits until `check` gives something that is neither false, undefined nor null; fails loudly.
 *
 * @param timeoutMs only a failing test waits for so long; the default leaves room for a machine with ten times as much to do
 */
export async function waitUntil<T>(
  what: string,
  check: () => T | Promise<T>,
  timeoutMs = 20_000,
): Promise<NonNullable<Exclude<T, false>>> {
  const end = performance.now() + timeoutMs
  let last: T
  do {
    last = await check()
    if (last !== false && last !== undefined && last !== null) {
      return last as NonNullable<Exclude<T, false>>
    }
    await setTimeout(5)
  } while (performance.now() < end)
  throw new Error(`waited ${timeoutMs} ms in vain: ${what}`)
}
