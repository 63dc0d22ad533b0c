import type { Settings } from '../../config/settings.ts'
import type { Placement } from '../../decide/rewrite.ts'
import type { KubeClient } from '../../kube/client.ts'
import { isNotFound, KubeApiError } from '../../kube/errors.ts'
import { type ResourcePath, resourcePath } from '../../kube/resource.ts'
import type { KubeObject, ObjectMeta, OwnerReference, Pod } from '../../kube/types.ts'
import { isExcluded } from '../../state/exclusions.ts'
import { ignoreFlag, isIgnored } from '../../state/flags.ts'
import { readOwners, objectName as stoppedOwners } from '../../state/stopped-owners.ts'

/** The API server's mark of a mirror pod, its picture of a static pod. */
const mirrorPodAnnotation = 'kubernetes.io/config.mirror'

/** Kinds that bear the flag for the pods of what they own, or for their own. */
const workloads: Readonly<Record<string, Omit<ResourcePath, 'namespace'>>> = {
  ReplicaSet: { group: 'apps', version: 'v1', plural: 'replicasets' },
  Deployment: { group: 'apps', version: 'v1', plural: 'deployments' },
  StatefulSet: { group: 'apps', version: 'v1', plural: 'statefulsets' },
  DaemonSet: { group: 'apps', version: 'v1', plural: 'daemonsets' },
  Job: { group: 'batch', version: 'v1', plural: 'jobs' },
  CronJob: { group: 'batch', version: 'v1', plural: 'cronjobs' },
}

export interface PlacementsOptions {
  readonly client: KubeClient
  readonly settings: Settings
  readonly now: number
  readonly signal: AbortSignal
}

/** Where pods stand, as far as it decides what they start from; read by the caller's rights, each thing once. */
export class Placements {
  readonly #options: PlacementsOptions
  readonly #known = new Map<string, Promise<Placement>>()
  readonly #notes = new Set<string>()

  constructor(options: PlacementsOptions) {
    this.#options = options
  }

  /** What the caller may not read, and so is not counted with. */
  get notes(): readonly string[] {
    return [...this.#notes]
  }

  /** Of any pod in a namespace that nobody opted out. */
  of(namespace: string): Promise<Placement> {
    const known = this.#known.get(namespace) ?? this.#read(namespace)
    this.#known.set(namespace, known)
    return known
  }

  /** Of a new pod like this one. */
  async ofPod({ metadata }: Pod, namespace: string): Promise<Placement> {
    const owner = controllerOf(metadata)
    return {
      ...(await this.of(namespace)),
      staticPod: metadata?.annotations?.[mirrorPodAnnotation] !== undefined,
      optedOut: isIgnored(metadata) || (await this.#isFlagged(owner, namespace)),
      stopped: owner !== undefined && (await this.#isStopped(owner)),
    }
  }

  async #read(namespace: string): Promise<Placement> {
    const { settings } = this.#options
    const namespaces = { group: '', version: 'v1', plural: 'namespaces' }
    const found = await this.#get(namespaces, namespace)
    const excluded = found !== 'refused' && isExcluded(namespace, found?.metadata, settings)
    return { namespace, excluded, lacksPullSecret: await this.#lacksPullSecret(namespace) }
  }

  async #lacksPullSecret(namespace: string): Promise<boolean> {
    const { pullSecret } = this.#options.settings.mirror
    if (pullSecret === '') return false
    const secrets = { group: '', version: 'v1', plural: 'secrets', namespace }
    const found = await this.#get(secrets, pullSecret, metadataOnly)
    // One that is being deleted goes before the pod's image is pulled.
    return found === undefined || (found !== 'refused' && isLeaving(found))
  }

  async #isFlagged(owner: OwnerReference | undefined, namespace: string): Promise<boolean> {
    const kind = owner && workloads[owner.kind]
    if (owner === undefined || kind === undefined) return false
    const found = await this.#get({ ...kind, namespace }, owner.name)
    if (found === 'refused' || found === undefined) return false
    if (found.metadata?.labels?.[ignoreFlag] === 'true') return true
    return await this.#isFlagged(controllerOf(found.metadata), namespace)
  }

  async #isStopped({ uid }: OwnerReference): Promise<boolean> {
    const { settings, now } = this.#options
    if (!settings.admission.loopBreaker) return false
    const { namespace } = settings
    const maps = { group: '', version: 'v1', plural: 'configmaps', namespace }
    const found = await this.#get(maps, stoppedOwners)
    if (found === 'refused' || found === undefined) return false
    const stopped = readOwners(found, silent).get(uid)
    return stopped !== undefined && stopped.untilMs > now
  }

  async #get(
    resource: ResourcePath,
    name: string,
    accept?: string,
  ): Promise<KubeObject | 'refused' | undefined> {
    const { client, signal } = this.#options
    try {
      const path = resourcePath(resource, name)
      return await client.request({ method: 'GET', path, signal, ...(accept && { accept }) })
    } catch (error) {
      if (isNotFound(error)) return undefined
      if (!(error instanceof KubeApiError && error.status === 403)) throw error
      const { plural, namespace = '' } = resource
      const where = namespace === '' ? '' : ` in ${namespace}`
      this.#notes.add(
        `you may not read ${plural} ${name}${where}, which is taken to hinder nothing`,
      )
      return 'refused'
    }
  }
}

/** A Secret's content is nobody's business here. */
const metadataOnly = 'application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1'

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

function isLeaving({ metadata }: KubeObject): boolean {
  return metadata?.deletionTimestamp !== undefined
}

function controllerOf(metadata: ObjectMeta | undefined): OwnerReference | undefined {
  return metadata?.ownerReferences?.find(({ controller }) => controller === true)
}
