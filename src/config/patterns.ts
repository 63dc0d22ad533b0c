/** Regular expressions of the schema; each is anchored, and valid with the `u` flag. */

const label = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?'
const component = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*'
// 1 to 65535; leading zeros do no harm.
const port =
  ':(?!0+(?![0-9]))(?:[0-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])'

// A first component without '.' or ':' is no host but a name on Docker Hub, save for localhost.
const dottedHost = `${label}(?:\\.${label})+(?:${port})?`
const plainHost = `${label}${port}`
const addressHost = `\\[[0-9a-f:]+\\](?:${port})?`
const registryHost = `(?:localhost(?:${port})?|${dottedHost}|${plainHost}|${addressHost})`

/** RFC 1123 label: names of namespaces, Services, containers. */
export const dnsLabel = `^${label}$`
/** RFC 1123 subdomain: names of most objects. */
export const dnsSubdomain = `^${label}(?:\\.${label})*$`
/** `host[:port]` of a registry. */
export const hostPattern = `^${registryHost}$`
/** `host[:port][/path]`, or nothing. */
export const backupPattern = `^(?:${registryHost}(?:/${component})*)?$`

/** Value of a Kubernetes label, and so of a node selector. */
export const labelValue = '^(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$'
/** Key of a Kubernetes label or annotation. */
export const qualifiedName = `^(?:${label}(?:\\.${label})*/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$`

/** A Kubernetes quantity that is not negative (resource.Quantity), or nothing. */
export const quantity =
  '^(?:(?:[0-9]+(?:\\.[0-9]*)?|\\.[0-9]+)(?:[KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?)?$'

// distribution/reference: a first component with a dot is a host, and only in a host may capitals stand.
const undotted = '[a-z0-9]+(?:(?:_|__|-+)[a-z0-9]+)*'
const anyLabel = '[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?'
const anyHost = `(?:${anyLabel}(?:\\.${anyLabel})*|\\[[0-9A-Fa-f:]+\\])(?:${port})?`
const digest = 'sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}'

/** A pattern of normalised references: unless it begins with a wildcard, it has to begin with a host. */
export const imageGlob = '^(?=[^/]*[*?]|localhost[:/]|[^/]*[.:][^/]*/)[A-Za-z0-9_.:/@*?\\[\\]-]+$'

/** A pattern of names of namespaces. */
export const namespaceGlob = '^[a-z0-9*?-]{1,63}$'

/** An image reference as users write it; 64 hex digits alone are an image's id and no name. */
export const imageReference = `^(?![0-9a-f]{64}$)(?:(?:${anyHost}|${undotted})/${component}(?:/${component})*|${component})(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@(?:${digest}))?$`
