import type { Party } from '../errors.ts'
import { formatReference, type ImageReference } from '../reference.ts'
import type { Client, Route } from './client.ts'
import type { Endpoint } from './endpoint.ts'

/** One server that holds a repository, under the path it has there. */
export interface Place {
  readonly endpoint: Endpoint
  readonly path: string
  readonly scopes: readonly string[]
  /** Where the one blob lies that this place is for: a foreign layer's. */
  readonly blobUrl?: URL
}

/** A repository as one call uses it: read only, written too, or deleted from. */
export class Repository {
  readonly registry: string
  readonly name: string
  readonly route: Route
  readonly access: 'pull' | 'pull,push' | 'pull,push,delete'
  /** What counts is what this registry holds, and not what a mirror of it still has. */
  readonly itself: boolean
  /** Where it is written. */
  readonly write: Place
  #reads: readonly Place[] | undefined

  constructor({
    registry,
    name,
    route,
    access,
    itself = access !== 'pull',
  }: Pick<Repository, 'registry' | 'name' | 'route' | 'access'> & { readonly itself?: boolean }) {
    this.registry = registry
    this.name = name
    this.route = route
    this.access = access
    this.itself = itself
    this.write = { endpoint: route.main, path: name, scopes: [this.#scope] }
  }

  /** The same, for a mount from another repository of the registry, which must be readable. */
  writeFrom(other: string): Place {
    if (other === this.name) return this.write
    const { endpoint, path } = this.write
    const own = this.#scope
    const others = `repository:${other}:pull`
    return { endpoint, path, scopes: own < others ? [own, others] : [others, own] }
  }

  /** Where it is read, best first. */
  get reads(): readonly Place[] {
    this.#reads ??= (this.itself ? this.route.reads.slice(-1) : this.route.reads).map(
      ({ endpoint, prefix, blobUrl }) => {
        const path = `${prefix}${this.name}`
        const scopes = [endpoint === this.route.main ? this.#scope : `repository:${path}:pull`]
        return { endpoint, path, scopes, ...(blobUrl && { blobUrl }) }
      },
    )
    return this.#reads
  }

  /** Who did not do what was asked, for an error that says so. */
  get party(): Party {
    return { host: this.registry, registry: this.registry, repository: this.name }
  }

  get #scope(): string {
    return `repository:${this.name}:${this.access}`
  }
}

/**
 * The repository of a reference, by the way that the client takes to its registry.
 *
 * @param itself ask no mirror; default: where it is written
 */
export function repositoryOf(
  client: Client,
  { registry, repository: name }: ImageReference,
  access: Repository['access'],
  itself?: boolean,
): Repository {
  const route = client.route(registry)
  return new Repository({ registry, name, route, access, ...(itself !== undefined && { itself }) })
}

/** How a repository is named in messages. */
export function describeRepository({ registry, name }: Repository): string {
  return formatReference({ registry, repository: name })
}
