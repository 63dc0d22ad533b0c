/** A range of IPv4 addresses as numbers, both ends included. */
export interface Ipv4Range {
  readonly first: number
  readonly last: number
}

/** Reads `10.1.2.3` or `10.1.0.0/16`; undefined for anything else, such as `default`. */
export function parseRange(text: string): Ipv4Range | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})(?:\/(\d{1,2}))?$/.exec(text)
  if (!match) return undefined
  const bytes = match.slice(1, 5).map(Number)
  const length = Number(match[5] ?? 32)
  if (length > 32 || bytes.some((byte) => byte > 255)) return undefined
  const address = bytes.reduce((sum, byte) => sum * 256 + byte, 0)
  const size = 2 ** (32 - length)
  const first = Math.floor(address / size) * size
  return { first, last: first + size - 1 }
}

export function overlaps(left: Ipv4Range, right: Ipv4Range): boolean {
  return left.first <= right.last && right.first <= left.last
}

/** The destinations in the output of `ip -4 route`; `default` is none, it overlaps everything and collides with nothing. */
export function routeDestinations(listing: string): readonly string[] {
  const kinds = new Set([
    'unicast',
    'local',
    'broadcast',
    'blackhole',
    'unreachable',
    'prohibit',
    'throw',
  ])
  return listing
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .map(([first, second]) => (first && kinds.has(first) ? second : first))
    .filter((destination) => destination !== undefined && parseRange(destination) !== undefined)
    .map(String)
}
