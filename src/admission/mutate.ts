import type { ReasonCode } from '../decide/codes.ts'
import type { RewriteVerdict } from '../decide/rewrite.ts'
import type { Mapping } from '../images/mapping.ts'
import { originalsAnnotation } from '../images/originals.ts'
import { type ImageUse, imagesOf, pointerOf, policyPointerOf } from '../images/walker.ts'
import type { Pod } from '../kube/types.ts'
import { originalsOf, type WrittenUse } from './originals.ts'
import { type PatchOperation, pointer } from './patch.ts'
import type { PodChange } from './pod.ts'

export interface MutateContext {
  /** Decides on one image of this pod. */
  readonly decide: (use: ImageUse) => RewriteVerdict
  readonly mapping: Mapping
  /** Name of the Secret that copies are pulled with. */
  readonly pullSecret?: string | undefined
  /** What rewritten images get that are pulled `Always`; default `keep`. */
  readonly pullPolicy?: 'keep' | 'IfNotPresent' | undefined
}

/** What became of one image of a pod. */
export interface ImageOutcome extends WrittenUse {
  /** `AnnotationsFull`: it would be rewritten, but the pod has no room to keep the original. */
  readonly code: ReasonCode | 'AnnotationsFull'
}

export interface Mutation {
  readonly patch: readonly PatchOperation[]
  readonly images: readonly ImageOutcome[]
}

/** apimachinery's TotalAnnotationSizeLimitB: keys and values of all annotations; beyond it a pod is refused. */
const annotationsLimit = 256 * 1024

/**
 * Points a pod's images at their copies; pure. Applied to its own result it changes nothing.
 *
 * Of a new pod every image is looked at, and the annotation then tells the originals and nothing else. Of a pod that runs
 * only ephemeral containers that it did not have: the API server refuses a change of the others, and drops one of
 * annotations.
 *
 * A pull policy changes only along with its image, so that what another puts back stays.
 */
export function mutate({ pod, before }: PodChange, context: MutateContext): Mutation {
  const { decide, mapping, pullSecret, pullPolicy = 'keep' } = context
  const uses = before === undefined ? imagesOf(pod.spec ?? {}) : newEphemeral(pod, before)
  const images = uses.map((use): ImageOutcome => {
    const { act, code, reference } = decide(use)
    return { use, code, copy: act ? reference : undefined }
  })
  const rewrites = images.flatMap(({ use, copy }): PatchOperation[] => {
    if (copy === undefined) return []
    const image: PatchOperation = { op: 'replace', path: `/spec${pointerOf(use)}`, value: copy }
    if (pullPolicy === 'keep' || use.pullPolicy !== 'Always') return [image]
    return [image, { op: 'replace', path: `/spec${policyPointerOf(use)}`, value: pullPolicy }]
  })
  if (before !== undefined) return { patch: rewrites, images }

  const written = pod.metadata?.annotations?.[originalsAnnotation]
  const originals = originalsOf(images, written, mapping)
  if (originals !== undefined && originals !== written && !hasRoom(pod, originals)) {
    return { patch: [], images: images.map(withoutRoom) }
  }
  return {
    patch: [
      ...rewrites,
      ...(rewrites.length > 0 && pullSecret !== undefined ? addPullSecret(pod, pullSecret) : []),
      ...annotate(pod, written, originals),
    ],
    images,
  }
}

/** Whether a pod names a pull secret, itself or because its service account does. */
export function namesPullSecret({ spec }: Pod, name: string): boolean {
  return spec?.imagePullSecrets?.some((secret) => secret.name === name) === true
}

/** Appended: the pod's own come first, and none of them goes. */
function addPullSecret(pod: Pod, name: string): readonly PatchOperation[] {
  if (namesPullSecret(pod, name)) return []
  return pod.spec?.imagePullSecrets
    ? [{ op: 'add', path: '/spec/imagePullSecrets/-', value: { name } }]
    : [{ op: 'add', path: '/spec/imagePullSecrets', value: [{ name }] }]
}

function newEphemeral(pod: Pod, before: Pod): readonly ImageUse[] {
  const known = new Set(before.spec?.ephemeralContainers?.map(({ name }) => name))
  return imagesOf({ ephemeralContainers: pod.spec?.ephemeralContainers }).filter(
    ({ name }) => !known.has(name),
  )
}

function annotate(
  pod: Pod,
  written: string | undefined,
  originals: string | undefined,
): readonly PatchOperation[] {
  if (originals === written) return []
  const path = pointer('metadata', 'annotations', originalsAnnotation)
  if (originals === undefined) return [{ op: 'remove', path }]
  // RFC 6902 adds only to what is there; `add` replaces a null, and a value that is there.
  if (pod.metadata?.annotations) return [{ op: 'add', path, value: originals }]
  const annotations = { [originalsAnnotation]: originals }
  return pod.metadata
    ? [{ op: 'add', path: '/metadata/annotations', value: annotations }]
    : [{ op: 'add', path: '/metadata', value: { annotations } }]
}

function hasRoom(pod: Pod, originals: string): boolean {
  const annotations = { ...pod.metadata?.annotations, [originalsAnnotation]: originals }
  let bytes = 0
  for (const [key, value] of Object.entries(annotations)) {
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value)
  }
  return bytes <= annotationsLimit
}

function withoutRoom({ use, code, copy }: ImageOutcome): ImageOutcome {
  return { use, code: copy === undefined ? code : 'AnnotationsFull', copy: undefined }
}
