const HOUR_MS = 3_600_000
const UNITS: Readonly<Record<string, number>> = { h: HOUR_MS, d: 24 * HOUR_MS, w: 168 * HOUR_MS }
const AGE = /^(\d{1,6})([hdw])$/
/** Of ISO 8601, what means one moment everywhere: a day is one of UTC, and a time has its zone. */
const DATE = /^(\d{4})-(\d\d)-(\d\d)(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d))?$/

/**
 * Reads a moment that somebody names: a date, or an age.
 *
 * @param now - what an age is counted from, in milliseconds since 1970
 * @returns a text: what is wrong with it
 */
export function parseSince(text: string, now: number): Date | string {
  const [, count, unit = ''] = AGE.exec(text) ?? []
  const time = count === undefined ? timeOf(text) : now - Number(count) * (UNITS[unit] ?? 0)
  if (time === undefined)
    return 'give a date like 2026-01-31 or 2026-01-31T12:00Z, or an age like 12h, 30d or 4w'
  return time > now ? 'is in the future' : new Date(time)
}

function timeOf(text: string): number | undefined {
  const [, year, month, day] = DATE.exec(text) ?? []
  if (day === undefined) return undefined
  // Of a day that its month does not have, Node makes one of the next.
  const date = new Date(Date.UTC(Number(year), Number(month) - 1, Number(day)))
  const time = Date.parse(text)
  return date.getUTCDate() === Number(day) && time >= 0 ? time : undefined
}
