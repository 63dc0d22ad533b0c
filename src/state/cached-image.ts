/** `images.kip/v1alpha1` CachedImage: what kip knows of one image reference, as it stands in the API server. */

/** API group of CachedImages. */
export const group = 'images.kip'
/** Their version. */
export const version = 'v1alpha1'
/** Their name in paths. */
export const plural = 'cachedimages'

/** Why an image is wanted: it stands in a pod or template, in the static IMAGES, or a user made the object. */
export type WantedReason = 'InUse' | 'Static' | 'Requested'

/** One workload that uses an image. */
export interface Owner {
  readonly kind: string
  readonly namespace: string
  readonly name: string
}

/** Stanza of discovery: who uses the image. */
export interface Usage {
  readonly wanted: readonly WantedReason[]
  readonly pods: number
  readonly workloads: number
  readonly namespaces: number
  /** At most 10; of an image that is kept without users its last ones. */
  readonly owners: readonly Owner[]
  /** RFC 3339. */
  readonly firstSeen: string
  /** RFC 3339; set when the last user went, absent while in use. */
  readonly lastSeen?: string
}

/** Stanza of the resolver: what the reference is at its source. */
export interface Source {
  readonly state: 'Available' | 'Missing' | 'NeedsCredentials' | 'Unreachable' | 'Invalid'
  readonly digest?: string
  readonly mediaType?: string
  /** `os/arch[/variant]`, at most 32. */
  readonly platforms?: readonly string[]
  /** Bytes of all blobs of all platforms, compressed. */
  readonly sizeBytes?: number
  /** Earlier digests of the tag, newest first, at most 10. */
  readonly history?: readonly { readonly digest: string; readonly seenAt: string }[]
  /** RFC 3339; when the source was first found as it is: a check that finds nothing new is not written. */
  readonly checkedAt: string
  /** A code and a sentence of kip's own, never bytes of a registry's answer. */
  readonly message?: string
}

/** One backup copy; stanza of the mirror. */
export interface Mirror {
  /** Registry of the copy, the key of the list. */
  readonly registry: string
  readonly state: 'Pending' | 'Copying' | 'Verified' | 'Failed' | 'Blocked'
  /** Reference of the copy with its tag, without digest. */
  readonly reference: string
  /** Digest that was verified in the backup; kept while a newer one is copied. */
  readonly digest?: string
  /** Who copies, and since when: set while `Copying`. */
  readonly worker?: string
  readonly since?: string
  readonly attempts?: number
  /** RFC 3339: not tried again before. */
  readonly retryAt?: string
  readonly code?: string
  readonly message?: string
}

export interface NodeFailure {
  readonly node: string
  readonly reason: string
  readonly message: string
}

/** Stanza of the puller: where the image stands. */
export interface Nodes {
  readonly desired: number
  readonly cached: number
  readonly pulling: number
  readonly failed: number
  /** Code: why the nodes are not asked for it, or `CopyNotPulled`. */
  readonly reason?: string
  /** At most 10. */
  readonly failures: readonly NodeFailure[]
}

export interface Condition {
  readonly type: 'Resolved' | 'Mirrored' | 'Cached' | 'Duplicate'
  readonly status: 'True' | 'False' | 'Unknown'
  readonly reason: string
  readonly message: string
  readonly lastTransitionTime: string
  readonly observedGeneration?: number
}

/** All that is known of one reference, from whichever store. */
export interface ImageState {
  /** Normalised: registry, repository, and tag or digest or both, as {@link parseReference} formats it. */
  readonly reference: string
  /** Object name. */
  readonly name: string
  /** A user made the object by hand. */
  readonly requested: boolean
  readonly resourceVersion: string
  /** RFC 3339; when the object was made. */
  readonly createdAt?: string
  readonly usage?: Usage
  readonly source?: Source
  readonly mirrors: readonly Mirror[]
  readonly nodes?: Nodes
  readonly conditions: readonly Condition[]
}

/** Whether anybody wants the image now. */
export function isWanted(image: ImageState): boolean {
  return image.requested || (image.usage?.wanted.length ?? 0) > 0
}
