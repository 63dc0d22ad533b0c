import { formatReference, parseReference } from '@containers/image-copy'
import type { DecisionSettings } from '../../src/decide/subject.ts'
import { createMapping, type Mapping } from '../../src/images/mapping.ts'
import type { ImageState } from '../../src/state/cached-image.ts'
import { digestOf } from './pods.ts'

export const registry = 'backup.test:5001/mirror'
export const mapping = createMapping({ registry, mapping: 'path' })
export const digest = digestOf('a')

export const settings: DecisionSettings = {
  mirror: { preCacheWaitSeconds: 60, pullSecret: '' },
  admission: { enabled: true, rewrite: 'available' },
  puller: { enabled: true, mode: 'own', cacheOriginals: true, imagePullSecrets: [] },
}

/** What a pod that names a source is pointed at, when there is a verified copy. */
export function copyOf(source: string, of: string = digest): string {
  return `${formatReference(mapping.backupOf(parseReference(source)))}@${of}`
}

/** An image in use, with a verified copy. */
export function mirrored(source: string, of: string = digest): ImageState {
  return mirroredIn(mapping, source, of)
}

/** An image in use, with a verified copy in a backup of the caller's. */
export function mirroredIn(mapping: Mapping, source: string, of: string): ImageState {
  const { registry } = mapping
  return {
    ...known(source),
    source: { state: 'Available', digest: of, checkedAt: '2027-01-01T00:00:00Z' },
    mirrors: [
      {
        registry,
        reference: formatReference(mapping.backupOf(parseReference(source))),
        state: 'Verified',
        digest: of,
      },
    ],
  }
}

/** An image in use, of which nothing is known yet. */
export function known(source: string): ImageState {
  const reference = formatReference(parseReference(source))
  return {
    reference,
    name: 'n',
    requested: false,
    resourceVersion: '1',
    usage: {
      wanted: ['InUse'],
      pods: 1,
      workloads: 1,
      namespaces: 1,
      owners: [],
      firstSeen: '2027-01-01T00:00:00Z',
    },
    mirrors: [],
    conditions: [],
  }
}

/** A store to read from. */
export function storeOf(...images: readonly ImageState[]): {
  get(reference: string): ImageState | undefined
} {
  const byReference = new Map(images.map((image) => [image.reference, image]))
  return { get: (reference) => byReference.get(reference) }
}
