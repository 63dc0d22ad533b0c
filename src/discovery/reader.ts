import { formatReference, type ImageReference, parseReference } from '@containers/image-copy'
import { type Demand, demandOf } from '../images/demand.ts'
import type { ImageFilter } from '../images/filter.ts'
import type { Mapping } from '../images/mapping.ts'
import { isCopyOf, originalKey, originalsAnnotation, placeOf } from '../images/originals.ts'
import { podTemplateOf, type WorkloadKind, workloadKinds } from '../images/templates.ts'
import { type ImageUse, imagesOf } from '../images/walker.ts'
import { readTexts } from '../kube/annotations.ts'
import { controllerOf, groupOf } from '../kube/owner-references.ts'
import type { ControllerRevision, KubeObject, PodSpec, Workload } from '../kube/types.ts'
import { ignoreFlag, isIgnoredWorkload } from '../state/flags.ts'

/** Sets of references that are remembered; more than a large cluster has workloads, and some 20 MB at most. */
const memoLimit = 50_000

/** What images a pod or a workload uses, and on whose behalf. */
export interface Used {
  /** Key of the controller that it belongs to; '' for none. */
  readonly owner: string
  /** It bears the opt-out flag. */
  readonly ignored: boolean
  /** Sources of its images, normalised, each once; shared between objects that use the same. */
  readonly references: readonly string[]
  /** What stands where an image should and is no reference, as written. */
  readonly invalid: readonly string[]
  /** Not the object alone says what its images are, but the images that are known besides. */
  readonly asksStore: boolean
  /** On which nodes it may run; shared between objects of the same demand. Absent: nobody asks. */
  readonly demand?: Demand
  /** It is one of several revisions of its owner: a ReplicaSet of a Deployment, a ControllerRevision of a StatefulSet. */
  readonly revision?: Revision
}

export interface Revision {
  /** Higher is newer; 0: its owner does not number them. */
  readonly number: number
  /** It was scaled away, and has no pod any more. */
  readonly atRest: boolean
}

export interface ReaderOptions {
  readonly mapping: Mapping
  /** Source of a backup copy (by tag) that the mapping cannot compute; undefined: unknown. */
  readonly sourceOfCopy: (copy: string) => string | undefined
  /** Asked for each source; one that it refuses is not read. */
  readonly filter: ImageFilter
  /** Whether it is asked on which nodes pods may run. Default false. */
  readonly readsDemands?: boolean
}

/** Reads a raw object of a kind. */
export type Reader = (kind: WorkloadKind, raw: KubeObject) => Used

type Images = Pick<Used, 'references' | 'invalid' | 'asksStore'>

/**
 * `Kind namespace/name`; a kind that is not built in bears its group, since others have Jobs too. No kind has a space, but no
 * API server checks an owner reference for that: what stands behind it would be taken for the namespace.
 */
export function ownerKey(kind: string, group: string, namespace: string, name: string): string {
  const builtIn = group === '' || workloadGroups.get(kind) === group
  const named = builtIn ? kind : `${kind}.${group}`
  return `${named.replaceAll(' ', '_')} ${namespace}/${name}`
}

/** The {@link ownerKey} of an object of a kind, by `namespace/name`. */
export function ownerKeyOf({ kind, group }: WorkloadKind, name: string): string {
  return `${ownerKey(kind, group, '', '').slice(0, -1)}${name}`
}

/** The parts of an {@link ownerKey}. */
export function parseOwnerKey(key: string): { kind: string; namespace: string; name: string } {
  const space = key.indexOf(' ')
  const slash = key.indexOf('/', space)
  return {
    kind: key.slice(0, space),
    namespace: key.slice(space + 1, slash),
    name: key.slice(slash + 1),
  }
}

/** Whether objects of this owner's kind are watched, so that one that is not known is not there (yet, or any more). */
export function isWatchedKind(kind: string): boolean {
  return workloadGroups.has(kind)
}

const workloadGroups = new Map(workloadKinds.map(({ kind, group }) => [kind, group]))

/**
 * Makes the reader of pods and workloads: it takes the images of all four places, normalised, and maps copies in the
 * backup to their source.
 *
 * The annotation of the originals is anybody's to write. It is believed only where the copy that the pod names is the
 * very copy of the original that it claims.
 */
export function createReader(options: ReaderOptions): Reader {
  const { mapping, sourceOfCopy, filter, readsDemands = false } = options
  const byWritten = new Map<string, Images>()
  const byResult = new Map<string, Images>()
  const demands = new Map<string, Demand>()

  const remember = <T>(memo: Map<string, T>, key: string, value: T): T => {
    const known = memo.get(key)
    if (known !== undefined) return known
    if (memo.size >= memoLimit) memo.clear()
    memo.set(key, value)
    return value
  }

  const readDemand = (spec: PodSpec): Demand => {
    const demand = tryDemandOf(spec)
    return remember(demands, JSON.stringify(demand), demand)
  }

  /** Source of a copy, as far as it can be computed. */
  const sourceOf = (copy: ImageReference, claimed: string | undefined): string | undefined => {
    if (claimed !== undefined && isCopyOf(copy, claimed, mapping)) {
      return formatReference(parseReference(claimed))
    }
    const source = mapping.sourceOf(copy)
    return source && formatReference(source)
  }

  const readImages = (uses: readonly ImageUse[], annotation: string | undefined): Images => {
    const written = uses.map(({ reference }) => reference).join('\n')
    const known = byWritten.get(written)
    if (known !== undefined) return known
    const references = new Set<string>()
    const invalid = new Set<string>()
    const originals = readTexts(annotation)
    let copies = false
    let asksStore = false
    for (const use of uses) {
      const { reference } = use
      const parsed = tryParse(reference)
      if (parsed === undefined) {
        invalid.add(reference)
      } else if (mapping.isBackup(parsed)) {
        copies = true
        const source = sourceOf(parsed, originals.get(originalKey(use)))
        if (source === undefined) asksStore = true
        references.add(source ?? sourceOfCopy(placeOf(parsed)) ?? formatReference(parsed))
      } else {
        references.add(formatReference(parsed))
      }
    }
    const images = {
      references: [...references].filter(filter).sort(),
      invalid: [...invalid],
      asksStore,
    }
    // What a copy is of depends on more than what is written.
    return copies
      ? remember(
          byResult,
          `${images.references.join()} ${images.invalid.join()} ${asksStore}`,
          images,
        )
      : remember(byWritten, written, images)
  }

  return (kind, raw) => {
    const { metadata = {} } = raw
    const { namespace = '' } = metadata
    const controller = controllerOf(metadata)
    const template = podTemplateOf(kind, raw)
    const uses = template === undefined ? [] : imagesOf(template.spec)
    const revision = revisionOf(kind.kind, raw)
    return {
      owner:
        controller === undefined
          ? ''
          : ownerKey(controller.kind, groupOf(controller), namespace, controller.name),
      ignored: isIgnoredWorkload(metadata, template?.metadata),
      ...readImages(uses, metadata.annotations?.[originalsAnnotation]),
      ...(revision && { revision }),
      ...(readsDemands &&
        template !== undefined && { demand: readDemand(template.spec as PodSpec) }),
    }
  }
}

/** Where Deployments, Argo Rollouts and OpenShift DeploymentConfigs number their revisions. */
const revisionAnnotations = [
  'deployment.kubernetes.io/revision',
  'rollout.argoproj.io/revision',
  'openshift.io/deployment-config.latest-version',
]

/** The labels and annotations that are read of objects and templates. */
export const readMetadata = {
  labels: [ignoreFlag],
  annotations: [ignoreFlag, originalsAnnotation, ...revisionAnnotations],
}

/** What tells a revision of a controller from a ReplicaSet or ReplicationController of its own. */
function revisionOf(kind: string, raw: KubeObject): Revision | undefined {
  if (kind === 'ControllerRevision') {
    const { revision = 0 } = raw as ControllerRevision
    return { number: revision, atRest: true }
  }
  if (kind !== 'ReplicaSet' && kind !== 'ReplicationController') return undefined
  const { metadata = {}, spec, status } = raw as Workload
  if (controllerOf(metadata) === undefined) return undefined
  const key = revisionAnnotations.find((name) => metadata.annotations?.[name] !== undefined) ?? ''
  return {
    number: Number.parseInt(metadata.annotations?.[key] ?? '', 10) || 0,
    atRest: spec?.replicas === 0 && (status?.replicas ?? 0) === 0,
  }
}

/** Nobody checks the pod template of a custom resource. */
function tryDemandOf(spec: PodSpec): Demand {
  try {
    return demandOf(spec)
  } catch {
    return { terms: [], tolerations: [] }
  }
}

function tryParse(text: string): ImageReference | undefined {
  try {
    return parseReference(text)
  } catch {
    return undefined
  }
}
