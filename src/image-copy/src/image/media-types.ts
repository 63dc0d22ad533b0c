/** Media types of manifests that are copied. */
export const ociManifest = 'application/vnd.oci.image.manifest.v1+json'
export const ociIndex = 'application/vnd.oci.image.index.v1+json'
const dockerManifest = 'application/vnd.docker.distribution.manifest.v2+json'
const dockerList = 'application/vnd.docker.distribution.manifest.list.v2+json'
/** Withdrawn from the OCI specification before 1.1, and still found in registries. */
const ociArtifact = 'application/vnd.oci.artifact.manifest.v1+json'

/** What a manifest request says it takes; indexes first, as some registries take the first they have. */
export const acceptManifests: string = [
  ociIndex,
  dockerList,
  ociManifest,
  dockerManifest,
  ociArtifact,
].join(', ')

const indexes = new Set([ociIndex, dockerList])
const manifests = new Set([ociManifest, dockerManifest, ociArtifact])
const schema1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+(?:json|prettyjws)$/
const foreign =
  /^application\/vnd\.(?:docker\.image\.rootfs\.foreign\.|oci\.image\.layer\.nondistributable\.)/

/** Whether it is an index, or Docker's manifest list. */
export function isIndexType(mediaType: string): boolean {
  return indexes.has(mediaType)
}

/** Whether it is the manifest of one image or artifact. */
export function isManifestType(mediaType: string): boolean {
  return manifests.has(mediaType)
}

/** Whether it is Docker's schema 1, which is refused. */
export function isSchema1Type(mediaType: string): boolean {
  return schema1.test(mediaType)
}

/**
 * Whether an index's entry of this type is to be read as a manifest. Any other is a blob, which an index may hold too:
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/image-index.md#image-index-property-descriptions
 */
export function isManifestEntry(mediaType: string): boolean {
  return (
    mediaType === '' ||
    isIndexType(mediaType) ||
    isManifestType(mediaType) ||
    isSchema1Type(mediaType)
  )
}

/** Layers that registries do not hold; their bytes are at URLs of somebody else. */
export function isForeignType(mediaType: string): boolean {
  return foreign.test(mediaType)
}
