import { printable, RegistryError } from '../errors.ts'
import type { Descriptor } from '../image/manifest.ts'
import type { Client, ReadRoute } from './client.ts'
import { Repository } from './repository.ts'

/** Where a foreign layer's bytes may be read. */
export interface ForeignLayers {
  /** Hosts, as they stand in URLs, that may be asked; the source's own registry always is. */
  readonly hosts: readonly string[]
  readonly client: Client
}

/**
 * The source of one foreign layer: the registry, which may hold it all the same, and then the manifest's own URLs, in their
 * order. Those are a stranger's word: only https (or hosts marked for http), only listed hosts, and nothing of ours is shown
 * (CVE-2020-15157).
 */
export function foreignSource(
  source: Repository,
  blob: Descriptor,
  { hosts, client }: ForeignLayers,
): Repository {
  const elsewhere = (blob.urls ?? []).flatMap((text): ReadRoute[] => {
    const url = URL.canParse(text) ? new URL(text) : undefined
    if (url === undefined || !/^https?:$/.test(url.protocol) || !hosts.includes(url.host)) return []
    if (url.username !== '' || url.password !== '') return []
    const endpoint = client.foreignEndpoint(url, source.registry)
    return endpoint === undefined ? [] : [{ endpoint, prefix: '', blobUrl: url }]
  })
  const { registry, name, route, access } = source
  const reads = [...route.reads, ...elsewhere]
  return new Repository({ registry, name, route: { main: route.main, reads }, access })
}

/** Says what could be done about a foreign layer that the registry lacks and that may be read nowhere else. */
export function foreignFailure(error: unknown, source: Repository, blob: Descriptor): unknown {
  const asked = source.route.reads.some(({ blobUrl }) => blobUrl !== undefined)
  if (!(error instanceof RegistryError) || error.code !== 'COPY_NOT_FOUND' || asked) return error
  const hosts = new Set((blob.urls ?? []).map((text) => URL.parse(text)?.host ?? text))
  return new RegistryError(
    'COPY_NOT_FOUND',
    `foreign layer ${blob.digest}: is not in ${source.registry}, and its URLs are at hosts that may not be asked (${printable([...hosts].join(', ')) || 'none'}); allow one of them, or leave foreign layers where they are`,
    { ...source.party, status: 404, cause: error },
  )
}
