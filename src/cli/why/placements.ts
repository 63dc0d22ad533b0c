import type { Settings } from '../../config/settings.ts'
import type { Placement } from '../../decide/rewrite.ts'
import { allWorkloadKinds } from '../../images/templates.ts'
import type { KubeClient, KubeRequest } from '../../kube/client.ts'
import { isForbidden, isNotFound } from '../../kube/errors.ts'
import { controllerOf, groupOf } from '../../kube/owner-references.ts'
import { type ResourcePath, resourceOf, resourcePath } from '../../kube/resource.ts'
import type { KubeList, KubeObject, OwnerReference, Pod } from '../../kube/types.ts'
import { excludedByName, isExcluded } from '../../state/exclusions.ts'
import { ignoreFlag, isIgnored, mirrorPodAnnotation } from '../../state/flags.ts'
import { readOwners, objectName as stoppedOwners } from '../../state/stopped-owners.ts'

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
    if (excludedByName(settings).has(namespace)) return { namespace, excluded: true }
    const namespaces = resourceOf('namespaces')
    const found = await this.#get(namespaces, namespace)
    const excluded = found !== 'refused' && isExcluded(namespace, found?.metadata, settings)
    return { namespace, excluded, lacksPullSecret: await this.#lacksPullSecret(namespace) }
  }

  async #lacksPullSecret(namespace: string): Promise<boolean> {
    const { pullSecret } = this.#options.settings.mirror
    if (pullSecret === '') return false
    const secrets = resourceOf('secrets', namespace)
    // As kip itself asks, whose rights are to list what has this one name.
    const found = await this.#ask<KubeList<KubeObject>>(
      {
        ...{ path: resourcePath(secrets), accept: metadataOnly },
        query: { fieldSelector: `metadata.name=${pullSecret}` },
      },
      `secrets ${pullSecret} in ${namespace}`,
    )
    // One that is being deleted goes before the pod's image is pulled.
    return found !== 'refused' && found?.items?.some((secret) => !isLeaving(secret)) !== true
  }

  async #isFlagged(owner: OwnerReference | undefined, namespace: string): Promise<boolean> {
    if (owner === undefined) return false
    const group = groupOf(owner)
    const kind = allWorkloadKinds(this.#options.settings.discovery.templates).find(
      (one) => one.kind === owner.kind && one.group === group,
    )
    if (kind === undefined) return false
    const { version, plural } = kind
    const found = await this.#get({ group, version, plural, namespace }, owner.name)
    if (found === 'refused' || found === undefined) return false
    if (found.metadata?.labels?.[ignoreFlag] === 'true') return true
    return await this.#isFlagged(controllerOf(found.metadata), namespace)
  }

  async #isStopped({ uid }: OwnerReference): Promise<boolean> {
    const { settings, now } = this.#options
    if (!settings.admission.loopBreaker) return false
    const { namespace } = settings
    const maps = resourceOf('configmaps', namespace)
    const found = await this.#get(maps, stoppedOwners)
    if (found === 'refused' || found === undefined) return false
    const stopped = readOwners(found, silent).get(uid)
    return stopped !== undefined && stopped.untilMs > now
  }

  async #get(resource: ResourcePath, name: string): Promise<KubeObject | 'refused' | undefined> {
    const { plural, namespace = '' } = resource
    const where = namespace === '' ? '' : ` in ${namespace}`
    return await this.#ask({ path: resourcePath(resource, name) }, `${plural} ${name}${where}`)
  }

  /** @param what is asked for, as it is told where that is refused */
  async #ask<T extends object = KubeObject>(
    request: Pick<KubeRequest, 'path' | 'query' | 'accept'>,
    what: string,
  ): Promise<T | 'refused' | undefined> {
    const { client, signal } = this.#options
    try {
      return await client.request<T>({ method: 'GET', ...request, signal })
    } catch (error) {
      if (isNotFound(error)) return undefined
      if (!isForbidden(error)) throw error
      this.#notes.add(`you may not read ${what}, which is taken to hinder nothing`)
      return 'refused'
    }
  }
}

/** A Secret's content is nobody's business here. */
const metadataOnly = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1'

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

function isLeaving({ metadata }: KubeObject): boolean {
  return metadata?.deletionTimestamp !== undefined
}
