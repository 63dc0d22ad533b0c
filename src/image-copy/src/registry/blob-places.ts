import { isDigest } from '../digest.ts'
import { isRegistryHost, isRepository } from '../reference.ts'

/** Says what a text is, and how it is to be read; a number of lines follows. */
const heading = 'image-copy blob-places 1'
/** Some 12 MB of text, and 30 MB of memory: the layers of ten thousand images. */
const maxBlobs = 100_000
const maxBytes = 16 * 1024 * 1024
/** Of one blob at one host: a base layer is in hundreds of repositories, of which one is mounted from. */
const maxRepositories = 4

/**
 * Which repositories of which hosts were seen to hold which blobs, to be kept from one run to the next, so that a blob that a
 * target holds somewhere is mounted there and not sent. They are hints, and nothing more: a blob that is gone is sent as if
 * nothing had been remembered. 100,000 blobs and 16 MiB of text at most, of which the newest stay.
 *
 * Its text names hosts, repositories and digests that the copies wrote to or found, and holds no credential; who may not know
 * of a repository's name must not read it.
 */
export class BlobPlaces {
  /** Of earlier runs, the oldest first: `digest host`, and repositories with spaces between them, the newest last. */
  readonly #before: ReadonlyMap<string, string>
  /** What this run saw; of one blob, in place of what was known before. */
  readonly #seen = new Map<string, string>()
  /** Repositories that may not be mounted from: `host repository`. */
  readonly #closed = new Set<string>()

  /** What nobody has seen yet. */
  constructor(before: ReadonlyMap<string, string> = new Map()) {
    this.#before = before
  }

  /**
   * Reads what {@link text} gave.
   *
   * @throws SyntaxError that says what is wrong with it, be it one line: it is to be begun anew
   */
  static parse(text: string): BlobPlaces {
    return new BlobPlaces(entriesOf(text))
  }

  /** Whether there is anything that the text it was made from does not say. */
  get changed(): boolean {
    return this.#seen.size > 0
  }

  /**
   * What to keep for the next run.
   *
   * @param latest what another run may have kept meanwhile, in place of what this one began with: of a blob that both saw, this
   *   one's word counts
   */
  text(latest: BlobPlaces = this): string {
    const lines: string[] = []
    let bytes = 0
    const add = (key: string, repositories: string): void => {
      const line = `${key} ${repositories}\n`
      bytes += line.length
      if (lines.length < maxBlobs && bytes <= maxBytes - heading.length - 10) lines.push(line)
    }
    for (const [key, repositories] of [...this.#seen].reverse())
      if (repositories !== '') add(key, repositories)
    for (const [key, repositories] of [...latest.#before].reverse())
      if (!this.#seen.has(key)) add(key, repositories)
    return `${heading} ${lines.length}\n${lines.reverse().join('')}`
  }

  /** Where a blob may be mounted from into a repository; undefined: it is not known, or known to be there already. */
  holder(host: string, digest: string, repository: string): string | undefined {
    const all = this.#repositories(keyOf(host, digest))
    if (all.includes(repository)) return undefined
    return all.findLast((it) => !this.#closed.has(`${host} ${it}`))
  }

  /** A repository was seen to hold a blob. */
  add(host: string, digest: string, repository: string): void {
    const key = keyOf(host, digest)
    const others = this.#repositories(key).filter((it) => it !== repository)
    this.#see(key, [...others, repository].slice(-maxRepositories))
  }

  /** A repository turned out not to hold a blob; without one, none does. */
  drop(host: string, digest: string, repository?: string): void {
    const key = keyOf(host, digest)
    const all = this.#repositories(key)
    if (all.length > 0)
      this.#see(key, repository === undefined ? [] : all.filter((it) => it !== repository))
  }

  /** A repository turned out not to be for us: it is not asked for again in this run. */
  close(host: string, repository: string): void {
    this.#closed.add(`${host} ${repository}`)
  }

  #repositories(key: string): readonly string[] {
    const known = this.#seen.get(key) ?? this.#before.get(key) ?? ''
    return known === '' ? [] : known.split(' ')
  }

  #see(key: string, repositories: readonly string[]): void {
    this.#seen.delete(key)
    this.#seen.set(key, repositories.join(' '))
    if (this.#seen.size <= maxBlobs) return
    for (const oldest of this.#seen.keys()) {
      this.#seen.delete(oldest)
      return
    }
  }
}

function keyOf(host: string, digest: string): string {
  return `${digest} ${host}`
}

function entriesOf(text: string): ReadonlyMap<string, string> {
  if (text.length > maxBytes) throw new SyntaxError(`has more than ${maxBytes} bytes`)
  const first = text.slice(0, text.indexOf('\n') + 1)
  // Not a word of what it is: somebody may have named a file with secrets.
  if (!first.startsWith(`${heading} `)) throw new SyntaxError(`does not begin with "${heading}"`)
  const entries = new Map<string, string>()
  // Most lines name what others have named.
  const hosts = new Set<string>()
  const names = new Map<string, string>()
  let lines = 0
  for (let at = first.length; at < text.length; lines += 1) {
    const end = text.indexOf('\n', at)
    if (end < 0) throw new SyntaxError('is not whole')
    if (lines === maxBlobs) throw new SyntaxError(`has more than ${maxBlobs} lines`)
    const digestEnd = text.indexOf(' ', at)
    const hostEnd = text.indexOf(' ', digestEnd + 1)
    const host = text.slice(digestEnd + 1, hostEnd)
    const repositories = text.slice(hostEnd + 1, end)
    const isSound =
      hostEnd < end &&
      isDigest(text.slice(at, digestEnd)) &&
      (hosts.has(host) || isRegistryHost(host)) &&
      (names.has(repositories) || areRepositories(repositories))
    if (!isSound) throw new SyntaxError(`line ${lines + 2} is no blob and its places`)
    hosts.add(host)
    if (!names.has(repositories)) names.set(repositories, repositories)
    entries.set(text.slice(at, hostEnd), names.get(repositories) ?? repositories)
    at = end + 1
  }
  if (first !== `${heading} ${lines}\n`) throw new SyntaxError('is not whole')
  return entries
}

function areRepositories(text: string): boolean {
  const names = text.split(' ')
  return names.length <= maxRepositories && names.every(isRepository)
}
