import { sameOrigin } from '../http/origin.ts'

/**
 * What a request is about. Its URL is put together when somebody wants it, which for most requests nobody does: that takes as
 * long as writing the request.
 */
export class Resource {
  readonly #base: URL
  /** Path and query. */
  readonly target: string
  /** At the server that the request was made for, and not where an answer sent it. */
  readonly own: boolean
  #url: URL | undefined

  /** @param place path and query below `base`, or a URL that an answer gave; @param query added to it */
  constructor(base: URL, place: string | URL, query = '') {
    this.#base = base
    if (typeof place === 'string') {
      this.target = place
      this.own = true
    } else {
      this.target = place.pathname + place.search
      this.own = sameOrigin(base, place)
      this.#base = place
    }
    if (query !== '') this.target += `${this.target.includes('?') ? '&' : '?'}${query}`
  }

  get host(): string {
    return this.#base.host
  }

  get url(): URL {
    this.#url ??= new URL(this.target, this.#base)
    return this.#url
  }
}
