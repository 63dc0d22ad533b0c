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

/** Groups of the kinds that are the API server's own and that kip asks for by name; all are `v1`. */
const groups = {
  clusterroles: 'rbac.authorization.k8s.io',
  configmaps: '',
  daemonsets: 'apps',
  deployments: 'apps',
  endpointslices: 'discovery.k8s.io',
  events: 'events.k8s.io',
  leases: 'coordination.k8s.io',
  mutatingwebhookconfigurations: 'admissionregistration.k8s.io',
  namespaces: '',
  nodes: '',
  pods: '',
  secrets: '',
  selfsubjectaccessreviews: 'authorization.k8s.io',
} as const

/** Where objects of a kind are. @param namespace - absent: cluster-scoped, or all namespaces */
export function resourceOf(plural: keyof typeof groups, namespace?: string): ResourcePath {
  const resource = { group: groups[plural], version: 'v1', plural }
  return namespace === undefined ? resource : { ...resource, namespace }
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
