import { formatReference, type ImageReference } from '../reference.ts'
import type { Client, Route } from './client.ts'
import type { Endpoint } from './endpoint.ts'

/** A repository as one call uses it: read only, or written too. */
export interface Repository {
  readonly registry: string
  readonly name: string
  readonly route: Route
  readonly access: 'pull' | 'pull,push'
}

/** One server that holds a repository, under the path it has there. */
export interface Place {
  readonly endpoint: Endpoint
  readonly path: string
  readonly scopes: readonly string[]
  /** Where the one blob lies that this place is for: a foreign layer's. */
  readonly blobUrl?: URL
}

/** The repository of a reference, by the way that the client takes to its registry. */
export function repositoryOf(
  client: Client,
  reference: ImageReference,
  access: Repository['access'],
): Repository {
  return {
    registry: reference.registry,
    name: reference.repository,
    route: client.route(reference.registry),
    access,
  }
}

/** Where a repository is written. `also` is another repository of the registry that must be readable, for a mount. */
export function writePlace(repository: Repository, also?: string): Place {
  const scopes = [`repository:${repository.name}:${repository.access}`]
  if (also !== undefined && also !== repository.name) scopes.push(`repository:${also}:pull`)
  return { endpoint: repository.route.main, path: repository.name, scopes: scopes.sort() }
}

/** Where a repository is read, best first. */
export function readPlaces(repository: Repository): readonly Place[] {
  return repository.route.reads.map(({ endpoint, prefix, blobUrl }) => {
    const path = `${prefix}${repository.name}`
    const access = endpoint === repository.route.main ? repository.access : 'pull'
    const scopes = [`repository:${path}:${access}`]
    return { endpoint, path, scopes, ...(blobUrl && { blobUrl }) }
  })
}

/** How a repository is named in messages. */
export function describeRepository({ registry, name }: Repository): string {
  return formatReference({ registry, repository: name })
}
