/**
 * Says in kip's own words why the API server refuses a pod.
 *
 * Its message may quote a webhook of anybody's at length; it stays in the Event, where `kubectl describe daemonset`
 * shows it.
 *
 * @param note the Event's
 */
export function refusalText(note: string): string {
  for (const [pattern, text] of patterns) if (pattern.test(note)) return text
  return 'the API server refuses them'
}

/** What the admission plug-ins of k8s.io/kubernetes say; a webhook's words come first, since it may quote any of them. */
const patterns: readonly (readonly [RegExp, string])[] = [
  [/admission webhook ".*" denied the request/i, 'an admission webhook denies them'],
  [/failed calling webhook/i, 'an admission webhook cannot be called'],
  [/ValidatingAdmissionPolicy/i, 'a ValidatingAdmissionPolicy denies them'],
  [/failed quota.*must specify/i, 'a ResourceQuota asks for requests or limits that they lack'],
  [/exceeded quota|failed quota/i, 'a ResourceQuota has no room for them'],
  [/violates PodSecurity/i, 'Pod Security does not allow them'],
  [/security context constraint/i, 'no SecurityContextConstraints of the cluster allow them'],
  [
    /(?:minimum|maximum) \S+ usage per |limit to request ratio per /i,
    'a LimitRange does not allow their requests or limits',
  ],
  [/no PriorityClass with name/i, 'there is no PriorityClass of the name of puller.priorityClass'],
  [/service ?account/i, 'the default service account of the namespace is not there'],
]
