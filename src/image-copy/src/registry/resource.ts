import type { Party } from '../errors.ts'
import { sameOrigin } from '../http/origin.ts'

/** A registry that is asked: its name as it stands in references, and its root. */
export interface Asked {
  readonly name: string
  readonly base: URL
}

/** What a request is about. */
export class Resource {
  /** Root of the registry that is asked. */
  readonly base: URL
  /** Its name, whichever server an answer sent us to. */
  readonly registry: string
  /** Whose part is asked for; empty: no repository's. */
  readonly repository: string
  /** A URL at the server that is asked. */
  readonly origin: URL
  /** Path and query. */
  readonly target: string
  /** At the server that the request was made for, and not where an answer sent it. */
  readonly own: boolean

  /**
   * @param asked the registry
   * @param repository whose part is asked for
   * @param place path and query below `base`, or a URL that an answer gave
   * @param query added to it
   */
  constructor(asked: Asked, repository: string, place: string | URL, query = '') {
    const { name, base } = asked
    this.base = base
    this.registry = name
    this.repository = repository
    if (typeof place === 'string') {
      this.origin = base
      this.target = place
      this.own = true
    } else {
      this.origin = place
      this.target = place.pathname + place.search
      this.own = sameOrigin(base, place)
    }
    if (query !== '') this.target += `${this.target.includes('?') ? '&' : '?'}${query}`
  }

  get host(): string {
    return this.origin.host
  }

  /** Who did not do what was asked, for an error that says so. */
  get party(): Party {
    return { host: this.host, registry: this.registry, repository: this.repository || undefined }
  }

  /** Put together when somebody wants it, which for most requests nobody does: that takes as long as writing the request. */
  get url(): URL {
    return new URL(this.target, this.origin)
  }
}
