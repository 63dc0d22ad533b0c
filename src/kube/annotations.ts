/** An annotation that is a JSON map of texts. Anybody may have written it: what does not belong there is left out. */
export function readTexts(annotation: string | undefined): ReadonlyMap<string, string> {
  try {
    const value: unknown = JSON.parse(annotation ?? '{}')
    const entries = Object.entries(typeof value === 'object' ? (value ?? {}) : {})
    return new Map(
      entries.filter((entry): entry is [string, string] => typeof entry[1] === 'string'),
    )
  } catch {
    return new Map()
  }
}
