/** One kind of object at the API server, in one namespace or in all. */
export interface ResourcePath {
  /** API group; '' is core. */
  readonly group: string
  readonly version: string
  /** Lower-case plural, as in the URL. */
  readonly plural: string
  /** Absent: cluster-scoped, or all namespaces. */
  readonly namespace?: string
}

/**
 * URL path of a resource, of one object of it, or of a subresource.
 *
 * @param resource - group, version, plural and namespace
 * @param name - object name; absent: the collection
 * @param subresource - `status`, `scale`…
 */
export function resourcePath(resource: ResourcePath, name?: string, subresource?: string): string {
  const { group, version, plural, namespace } = resource
  let path = group === '' ? `/api/${version}` : `/apis/${group}/${version}`
  if (namespace !== undefined) path += `/namespaces/${encodeURIComponent(namespace)}`
  path += `/${plural}`
  if (name !== undefined) path += `/${encodeURIComponent(name)}`
  if (subresource !== undefined) path += `/${subresource}`
  return path
}
