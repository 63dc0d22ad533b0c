import { setTimeout } from 'node:timers/promises'

/** Waits until `check` gives something that is neither false, undefined nor null; fails loudly, with the last answer. */
export async function waitUntil<T>(
  what: string,
  check: () => T | Promise<T>,
  timeoutMs = 5_000,
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
