import type { Pod } from '../kube/types.ts'
import { ReviewError } from './errors.ts'
import { type AdmissionRequest, recordAt, textAt } from './review.ts'

/** A pod on its way into the cluster. */
export interface PodChange {
  readonly pod: Pod
  /** The pod as it was, to which ephemeral containers are added; absent: the whole pod is new. */
  readonly before?: Pod
}

/**
 * The pod of a request; undefined when it asks for something that kip has no say in.
 *
 * @throws ReviewError naming the field of the pod that is not as it must be.
 */
export function readPodChange(request: AdmissionRequest): PodChange | undefined {
  const { resource, operation, object, oldObject } = request
  if (resource === 'pods' && operation === 'CREATE') {
    return { pod: readPod(object, 'request.object') }
  }
  if (resource === 'pods/ephemeralcontainers' && operation === 'UPDATE') {
    return {
      pod: readPod(object, 'request.object'),
      before: readPod(oldObject, 'request.oldObject'),
    }
  }
  return undefined
}

/**
 * Checks a pod in a review as far as kip reads it, so that whatever comes, only a pod is decided on.
 *
 * @param field Where it stands: `request.object`.
 * @throws ReviewError naming the field that is not as it must be.
 */
function readPod(value: unknown, field: string): Pod {
  const pod = recordAt(value, field)
  readMetadata(pod.metadata, `${field}.metadata`)
  const spec = recordAt(pod.spec, `${field}.spec`)
  for (const list of ['containers', 'initContainers', 'ephemeralContainers']) {
    eachAt(spec[list], `${field}.spec.${list}`, (container, at) => {
      optional(container.name, `${at}.name`)
      optional(container.image, `${at}.image`)
      optional(container.imagePullPolicy, `${at}.imagePullPolicy`)
    })
  }
  eachAt(spec.imagePullSecrets, `${field}.spec.imagePullSecrets`, (secret, at) => {
    optional(secret.name, `${at}.name`)
  })
  eachAt(spec.volumes, `${field}.spec.volumes`, (volume, at) => {
    optional(volume.name, `${at}.name`)
    if (isAbsent(volume.image)) return
    const image = recordAt(volume.image, `${at}.image`)
    optional(image.reference, `${at}.image.reference`)
    optional(image.pullPolicy, `${at}.image.pullPolicy`)
  })
  return pod
}

function readMetadata(value: unknown, field: string): void {
  if (isAbsent(value)) return
  const metadata = recordAt(value, field)
  for (const map of ['labels', 'annotations']) {
    if (isAbsent(metadata[map])) continue
    const entries = recordAt(metadata[map], `${field}.${map}`)
    for (const text of Object.values(entries)) textAt(text, `a value of ${field}.${map}`)
  }
  eachAt(metadata.ownerReferences, `${field}.ownerReferences`, (owner, at) => {
    for (const key of ['apiVersion', 'kind', 'name']) textAt(owner[key], `${at}.${key}`)
    optional(owner.uid, `${at}.uid`)
  })
}

function eachAt(
  value: unknown,
  field: string,
  read: (item: Readonly<Record<string, unknown>>, at: string) => void,
): void {
  if (isAbsent(value)) return
  if (!Array.isArray(value)) throw new ReviewError(`${field}: expected a list`)
  for (const [index, item] of value.entries()) {
    const at = `${field}[${index}]`
    read(recordAt(item, at), at)
  }
}

function optional(value: unknown, field: string): void {
  if (value !== undefined) textAt(value, field)
}

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null
}
