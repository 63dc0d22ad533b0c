import { sameOrigin } from '../http/origin.ts'

/** What a request is about. */
export class Resource {
  /** Root of the registry that is asked. */
  readonly base: URL
  /** A URL at the server that is asked. */
  readonly origin: URL
  /** Path and query. */
  readonly target: string
  /** At the server that the request was made for, and not where an answer sent it. */
  readonly own: boolean

  /**
   * @param base root of the registry
   * @param place path and query below `base`, or a URL that an answer gave
   * @param query added to it
   */
  constructor(base: URL, place: string | URL, query = '') {
    this.base = base
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

  /** Put together when somebody wants it, which for most requests nobody does: that takes as long as writing the request. */
  get url(): URL {
    return new URL(this.target, this.origin)
  }
}
