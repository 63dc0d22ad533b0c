import { sameOrigin } from '../http/origin.ts'

/**
 * What a request is about. Its URL is put together when somebody wants it, which for most requests nobody does: that takes as
 * long as writing the request.
 */
export class Resource {
  /** Root of the registry that is asked. */
  readonly base: URL
  /** A URL at the server that is asked. */
  readonly origin: URL
  /** Path and query. */
  readonly target: string
  /** At the server that the request was made for, and not where an answer sent it. */
  readonly own: boolean
  #url: URL | undefined

  /** @param base root of the registry @param place path and query below `base`, or a URL that an answer gave; @param query added to it */
  constructor(base: URL, place: string | URL, query = '') {
    this.base = base
    this.origin = typeof place === 'string' ? base : place
    if (typeof place === 'string') {
      this.target = place
      this.own = true
    } else {
      this.target = place.pathname + place.search
      this.own = sameOrigin(base, place)
    }
    if (query !== '') this.target += `${this.target.includes('?') ? '&' : '?'}${query}`
  }

  get host(): string {
    return this.origin.host
  }

  get url(): URL {
    this.#url ??= new URL(this.target, this.origin)
    return this.#url
  }
}
