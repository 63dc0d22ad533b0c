import type { ImageBearingSpec } from './walker.ts'

/** A workload kind whose objects hold a pod template. */
export interface WorkloadKind {
  readonly kind: string
  /** API group; empty: the core group. */
  readonly group: string
  readonly version: string
  readonly plural: string
  /** Keys that lead from the object to its pod template. */
  readonly templatePath: readonly string[]
}

/** A core/v1 PodTemplateSpec, as far as kip reads it. A Pod has the same shape. */
export interface PodTemplate {
  readonly metadata?: {
    readonly labels?: Readonly<Record<string, string>>
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly spec: ImageBearingSpec
}

const template = ['spec', 'template']

/** Every built-in kind that makes pods, with the place of its pod template. */
export const workloadKinds: readonly WorkloadKind[] = [
  kindOf('Deployment', 'apps', 'deployments', template),
  kindOf('StatefulSet', 'apps', 'statefulsets', template),
  kindOf('DaemonSet', 'apps', 'daemonsets', template),
  kindOf('ReplicaSet', 'apps', 'replicasets', template),
  kindOf('ReplicationController', '', 'replicationcontrollers', template),
  kindOf('Job', 'batch', 'jobs', template),
  kindOf('CronJob', 'batch', 'cronjobs', ['spec', 'jobTemplate', ...template]),
]

/**
 * Finds the pod template of a workload.
 *
 * @param kind One of {@link workloadKinds}, or `Pod`, whose object is its own template.
 * @param object The object as the API server sent it.
 * @returns undefined for a kind without a pod template, and for an object that has none (a ReplicationController may).
 */
export function podTemplateOf(kind: string, object: unknown): PodTemplate | undefined {
  const path =
    kind === 'Pod' ? [] : workloadKinds.find((known) => known.kind === kind)?.templatePath
  if (path === undefined) return undefined
  const found = path.reduce<unknown>((value, key) => child(value, key), object)
  return isTemplate(found) ? found : undefined
}

function kindOf(
  kind: string,
  group: string,
  plural: string,
  templatePath: readonly string[],
): WorkloadKind {
  return { kind, group, version: 'v1', plural, templatePath }
}

function child(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return (value as Readonly<Record<string, unknown>>)[key]
}

function isTemplate(value: unknown): value is PodTemplate {
  const spec = child(value, 'spec')
  return typeof spec === 'object' && spec !== null
}
