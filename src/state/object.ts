import { formatReference, parseReference } from '@containers/image-copy'
import type { KubeObject } from '../kube/types.ts'
import {
  type Condition,
  group,
  type ImageState,
  type Mirror,
  type Nodes,
  plural,
  type Source,
  type Usage,
  version,
} from './cached-image.ts'
import { type FieldManager, stanzaOf } from './stanzas.ts'

/** Where CachedImages are. */
export const resource = Object.freeze({ group, version, plural })
const apiVersion = `${group}/${version}`
const kind = 'CachedImage'

/** Set on the objects that kip makes itself: one without it was made by hand, and is kept. */
const managedLabel = 'app.kubernetes.io/managed-by'
const managedValue = 'kip'

/** A CachedImage as the API server sends it, held to the schema of the CRD by the API server. */
interface CachedImage extends KubeObject {
  readonly spec?: { readonly reference?: string }
  readonly status?: {
    readonly usage?: Summarised<Usage>
    readonly source?: Summarised<Source>
    readonly mirrors?: readonly Mirror[]
    readonly nodes?: Summarised<Nodes>
    readonly conditions?: readonly Condition[]
  }
}

type Summarised<T> = T & { readonly summary?: string }

/** One object, and the image that it stands for. */
export interface StoredImage {
  readonly name: string
  readonly uid: string
  readonly resourceVersion: string
  readonly createdAt: string
  /** Made by kip, which may delete it. */
  readonly managed: boolean
  /** As written in `spec.reference`. */
  readonly written: string
  /** undefined: `spec.reference` is no image reference. */
  readonly image: ImageState | undefined
}

/** Reads an object; what the API server's schema holds to is not checked again. */
export function readObject(raw: KubeObject): StoredImage {
  const { metadata = {}, spec, status = {} } = raw as CachedImage
  const { name = '', uid = '', resourceVersion = '', creationTimestamp = '' } = metadata
  const managed = metadata.labels?.[managedLabel] === managedValue
  const written = spec?.reference ?? ''
  const reference = normalise(written)
  const identity = { name, uid, resourceVersion, createdAt: creationTimestamp, managed, written }
  if (reference === undefined) return { ...identity, image: undefined }
  const { usage, source, nodes, mirrors = [], conditions = [] } = status
  const image: ImageState = {
    reference,
    name,
    requested: !managed,
    resourceVersion,
    createdAt: creationTimestamp,
    ...(usage === undefined
      ? {}
      : { usage: unsummarised({ ...usage, owners: usage.owners ?? [] }) }),
    ...(source === undefined ? {} : { source: unsummarised(source) }),
    mirrors,
    ...(nodes === undefined
      ? {}
      : { nodes: unsummarised({ ...nodes, failures: nodes.failures ?? [] }) }),
    conditions: [...conditions].sort((a, b) => (a.type < b.type ? -1 : 1)),
  }
  return { ...identity, image }
}

/** The object that kip makes for a reference. */
export function newObject(name: string, reference: string): KubeObject {
  return {
    apiVersion,
    kind,
    metadata: { name, labels: { [managedLabel]: managedValue } },
    spec: { reference },
  } as KubeObject
}

/** What `manager` applies to the status subresource: its whole stanza, if the object is still the one of `image`. */
export function stanzaObject(image: ImageState, manager: FieldManager): KubeObject {
  return {
    apiVersion,
    kind,
    metadata: { name: image.name, resourceVersion: image.resourceVersion },
    status: stanzaOf(image, manager),
  } as KubeObject
}

function normalise(written: string): string | undefined {
  try {
    return formatReference(parseReference(written))
  } catch {
    return undefined
  }
}

function unsummarised<T extends object>({ summary: _, ...stanza }: Summarised<T>): T {
  return stanza as unknown as T
}
