/**
 * A meta/v1 MicroTime: RFC 3339 with exactly six digits of a second. The API server refuses any other width with 400.
 *
 * @param epochMs - milliseconds since 1970; fractions count
 */
export function microTime(epochMs: number): string {
  const micros = Math.floor(epochMs * 1000)
  const seconds = Math.floor(micros / 1_000_000)
  const rest = String(micros - seconds * 1_000_000).padStart(6, '0')
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${rest}Z`
}
