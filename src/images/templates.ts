import type { TemplateSettings } from '../config/settings.ts'
import type { ImageBearingSpec } from './walker.ts'

/** A workload kind whose objects hold a pod template. */
export interface WorkloadKind {
  readonly kind: string
  /** API group; empty: the core group. */
  readonly group: string
  readonly version: string
  readonly plural: string
  /** Keys that lead from the object to its pod template; none: the object is one itself. */
  readonly templatePath: readonly string[]
  /** A custom resource, which the cluster may lack. */
  readonly isCustom: boolean
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

/** A past state of a StatefulSet or DaemonSet, which holds the pod template as it was then. */
export const revisionKind: WorkloadKind = kindOf(
  'ControllerRevision',
  'apps',
  'controllerrevisions',
  ['data', ...template],
)

/** A pod, which is its own template. */
export const podKind: WorkloadKind = kindOf('Pod', '', 'pods', [])

/** The built-in kinds, and the custom ones that the settings name. */
export function allWorkloadKinds(custom: readonly TemplateSettings[]): readonly WorkloadKind[] {
  const more = custom.map(({ path = template.join('.'), ...names }) => ({
    ...names,
    templatePath: path.split('.'),
    isCustom: true,
  }))
  return [...workloadKinds, ...more]
}

/**
 * Finds the pod template of a workload or pod.
 *
 * @param object The object as the API server sent it.
 * @returns undefined for an object that has none (a ReplicationController may).
 */
export function podTemplateOf(
  { templatePath }: Pick<WorkloadKind, 'templatePath'>,
  object: unknown,
): PodTemplate | undefined {
  const found = templatePath.reduce<unknown>((value, key) => child(value, key), object)
  return isTemplate(found) ? found : undefined
}

function kindOf(
  kind: string,
  group: string,
  plural: string,
  templatePath: readonly string[],
): WorkloadKind {
  return { kind, group, version: 'v1', plural, templatePath, isCustom: false }
}

function child(value: unknown, key: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined
  return (value as Readonly<Record<string, unknown>>)[key]
}

function isTemplate(value: unknown): value is PodTemplate {
  const spec = child(value, 'spec')
  return typeof spec === 'object' && spec !== null
}
