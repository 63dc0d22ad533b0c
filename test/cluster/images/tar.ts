/** One entry of a layer; paths are absolute or relative to the image's root, which is the same. */
export type TarEntry =
  | {
      readonly kind: 'file'
      readonly path: string
      readonly content: Uint8Array | string
      /** Default: 0644. */
      readonly mode?: number
      readonly owner?: number
    }
  | {
      readonly kind: 'folder'
      readonly path: string
      /** Default: 0755. */
      readonly mode?: number
      readonly owner?: number
    }
  | { readonly kind: 'symlink' | 'hardlink'; readonly path: string; readonly target: string }

const BLOCK = 512

/**
 * Writes a POSIX tar archive whose bytes follow from the entries alone: no time, no name of a user.
 *
 * Folders that no entry names come before the first entry inside them, with mode 0755. A path or link target that ustar's
 * fields cannot hold gets a pax header (POSIX.1-2001).
 */
export function tar(entries: readonly TarEntry[]): Buffer {
  const parts: Buffer[] = []
  const folders = new Set(
    entries.filter(({ kind }) => kind === 'folder').map(({ path }) => clean(path)),
  )
  for (const entry of entries) {
    const path = clean(entry.path)
    for (const folder of parents(path)) {
      if (folders.has(folder)) continue
      folders.add(folder)
      parts.push(...record({ kind: 'folder', path: folder }))
    }
    parts.push(...record({ ...entry, path }))
  }
  parts.push(Buffer.alloc(2 * BLOCK))
  return Buffer.concat(parts)
}

function clean(path: string): string {
  const parts = path.split('/').filter((part) => part !== '' && part !== '.')
  if (parts.includes('..') || parts.length === 0)
    throw new RangeError(`${path} is no path in a layer`)
  return parts.join('/')
}

function parents(path: string): readonly string[] {
  const parts = path.split('/').slice(0, -1)
  return parts.map((_, index) => parts.slice(0, index + 1).join('/'))
}

const TYPES = { file: '0', hardlink: '1', symlink: '2', folder: '5' } as const

function record(entry: TarEntry): Buffer[] {
  const name = entry.kind === 'folder' ? `${entry.path}/` : entry.path
  const content = entry.kind === 'file' ? Buffer.from(entry.content) : Buffer.alloc(0)
  const raw = 'target' in entry ? entry.target : ''
  const target = entry.kind === 'hardlink' ? clean(raw) : raw
  const mode = 'target' in entry ? 0o777 : (entry.mode ?? (entry.kind === 'folder' ? 0o755 : 0o644))
  const owner = 'target' in entry ? 0 : (entry.owner ?? 0)
  const long: Record<string, string> = {}
  const split = splitName(name)
  if (!split) long.path = name
  if (!fits(target, 100)) long.linkpath = target
  const fields = {
    ...(split ?? { prefix: '', name: name.slice(0, 50) }),
    ...{ mode, owner, size: content.length, type: TYPES[entry.kind] },
    target: 'linkpath' in long ? '' : target,
  }
  return [...pax(long), header(fields), ...padded(content)]
}

function fits(text: string, length: number): boolean {
  return Buffer.byteLength(text) <= length && /^[\x20-\x7e]*$/.test(text)
}

/** ustar holds a name of 100 bytes after a prefix of 155, parted at a slash. */
function splitName(name: string): { readonly prefix: string; readonly name: string } | undefined {
  if (fits(name, 100)) return { prefix: '', name }
  for (let at = name.indexOf('/'); at > 0 && at <= 155; at = name.indexOf('/', at + 1)) {
    const rest = name.slice(at + 1)
    if (rest && fits(rest, 100) && fits(name, 256)) return { prefix: name.slice(0, at), name: rest }
  }
  return undefined
}

function pax(values: Readonly<Record<string, string>>): Buffer[] {
  const lines = Object.entries(values).map(([key, value]) => paxLine(key, value))
  if (lines.length === 0) return []
  const content = Buffer.from(lines.join(''))
  const fields = {
    prefix: '',
    name: 'PaxHeaders/entry',
    mode: 0o644,
    owner: 0,
    type: 'x',
    target: '',
  }
  return [header({ ...fields, size: content.length }), ...padded(content)]
}

/** `<length> key=value\n`, where the length counts its own digits. */
function paxLine(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  const length = Buffer.byteLength(rest)
  let digits = String(length).length
  while (String(length + digits).length > digits) digits++
  return `${length + digits}${rest}`
}

function header(fields: {
  readonly prefix: string
  readonly name: string
  readonly mode: number
  readonly owner: number
  readonly size: number
  readonly type: string
  readonly target: string
}): Buffer {
  const block = Buffer.alloc(BLOCK)
  const octal = (value: number, at: number, length: number): void => {
    block.write(value.toString(8).padStart(length - 1, '0'), at)
  }
  block.write(fields.name, 0)
  octal(fields.mode, 100, 8)
  octal(fields.owner, 108, 8)
  octal(fields.owner, 116, 8)
  octal(fields.size, 124, 12)
  octal(0, 136, 12)
  block.fill(' ', 148, 156)
  block.write(fields.type, 156)
  block.write(fields.target, 157)
  block.write('ustar\u000000', 257)
  block.write(fields.prefix, 345)
  octal(
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    7,
  )
  block.write('\0 ', 154)
  return block
}

function padded(content: Buffer): Buffer[] {
  return [content, Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)]
}
