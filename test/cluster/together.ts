/**
 * Runs branches at the same time, all or none: the first failure stops the others by their signal, and nothing is still on
 * its way when this returns or throws.
 *
 * `Promise.all` leaves the other branches running after a failure; what they start then, nobody stops.
 *
 * @throws the first failure
 */
export async function together<T extends readonly unknown[]>(
  signal: AbortSignal | undefined,
  branches: { readonly [K in keyof T]: (signal: AbortSignal) => Promise<T[K]> },
): Promise<T> {
  const failed = new AbortController()
  const both = signal ? AbortSignal.any([signal, failed.signal]) : failed.signal
  const first: unknown[] = []
  const results = await Promise.allSettled(
    branches.map(async (branch) => {
      try {
        return await branch(both)
      } catch (error) {
        first.push(error)
        failed.abort(error)
        throw error
      }
    }),
  )
  if (first.length > 0) throw first[0]
  return results.map((result) =>
    result.status === 'fulfilled' ? result.value : undefined,
  ) as unknown as T
}
