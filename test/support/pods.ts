import type { Pod } from '../../src/kube/types.ts'

/** A digest that is easy to tell from another. */
export function digestOf(letter: string): string {
  return `sha256:${letter.repeat(64)}`
}

/** An AdmissionReview as the API server posts it, of a pod that is created unless told otherwise. */
export function reviewOf(object: unknown, request: Readonly<Record<string, unknown>> = {}) {
  return {
    apiVersion: 'admission.k8s.io/v1',
    kind: 'AdmissionReview',
    request: {
      uid: '705ab4f5-6393-11e8-b7cc-42010a800002',
      kind: { group: '', version: 'v1', kind: 'Pod' },
      resource: { group: '', version: 'v1', resource: 'pods' },
      requestKind: { group: '', version: 'v1', kind: 'Pod' },
      requestResource: { group: '', version: 'v1', resource: 'pods' },
      name: '',
      namespace: 'shop',
      operation: 'CREATE',
      userInfo: { username: 'system:serviceaccount:kube-system:replicaset-controller' },
      object,
      oldObject: null,
      dryRun: false,
      options: { kind: 'CreateOptions', apiVersion: 'meta.k8s.io/v1' },
      ...request,
    },
  }
}

/** A review of containers that are added to a pod that runs. */
export function ephemeralReviewOf(object: Pod, oldObject: Pod) {
  return reviewOf(object, { oldObject, operation: 'UPDATE', subResource: 'ephemeralcontainers' })
}
