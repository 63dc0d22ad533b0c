/** Label and annotation that keeps kip away from a namespace, a workload or a pod, with the value `true`. */
export const ignoreFlag = 'images.kip/ignore'

/** The API server's mark of a mirror pod, its picture of a static pod. */
export const mirrorPodAnnotation = 'kubernetes.io/config.mirror'

/** What of an object's or template's metadata can bear the flag. */
export interface FlagBearer {
  readonly labels?: Readonly<Record<string, string>> | undefined
  readonly annotations?: Readonly<Record<string, string>> | undefined
}

/** Whether a namespace, pod or pod template is opted out, by label or by annotation. */
export function isIgnored(metadata: FlagBearer | undefined): boolean {
  return metadata?.labels?.[ignoreFlag] === 'true' || metadata?.annotations?.[ignoreFlag] === 'true'
}

/**
 * Whether a workload is opted out: by its own label, or by label or annotation of its pod template.
 *
 * Its own annotation does not count: tools copy annotations between workloads (a Deployment's onto its ReplicaSets),
 * and the webhook has to know a pod's flagged owners by a label selector.
 */
export function isIgnoredWorkload(
  metadata: FlagBearer | undefined,
  template: FlagBearer | undefined,
): boolean {
  return metadata?.labels?.[ignoreFlag] === 'true' || isIgnored(template)
}
