import { getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import { KubeApiError } from '../kube/errors.ts'
import type { Log } from '../kube/log.ts'
import { Reflector } from '../kube/reflector.ts'
import { resourceOf, resourcePath } from '../kube/resource.ts'
import type { ConfigMap } from '../kube/types.ts'

/** `Recreated`: its pods were deleted soon after each rewrite; `Refused`: a policy does not let rewritten ones be. */
export type StopReason = 'Recreated' | 'Refused'

/** An owner of pods that rewriting was stopped for. */
export interface StoppedOwner {
  readonly uid: string
  /** `namespace/Kind/name`, for people. */
  readonly name: string
  readonly reason: StopReason
  /** How often rewriting was stopped for it, this time included. */
  readonly times: number
  /** RFC 3339: from then on its pods are rewritten again. */
  readonly until: string
}

/** Owners that are kept: 300 bytes each, and a ConfigMap takes 1 MiB. Beyond it those go that end first. */
const ownersLimit = 1_000
/** A second time within so long of the end of the first counts as the second. */
const rememberedMs = 7 * 86_400_000
const writeTries = 5

/** Name of the ConfigMap. */
export const objectName = 'kip-stopped-owners'
const key = 'owners.json'

export interface StoppedOwnersOptions {
  readonly client: KubeClient
  /** kip's own. */
  readonly namespace: string
  readonly log: Log
  /** Milliseconds since the epoch; default `Date.now`. */
  readonly now?: () => number
}

/**
 * The owners that rewriting was stopped for, which the leader writes and every replica reads: a ConfigMap in kip's
 * namespace, so that they outlive restarts and changes of the leader.
 */
export interface StoppedOwners {
  run(signal: AbortSignal): Promise<void>
  readonly synced: Promise<void>
  /** Whether rewriting is stopped for the owner now. */
  has(uid: string): boolean
  /** What is known of it, also for some days after its end. */
  get(uid: string): StoppedOwner | undefined
  /** How many rewriting is stopped for now. */
  count(): number
  /** Puts one in, beside those that others put in meanwhile. */
  put(owner: StoppedOwner, signal: AbortSignal): Promise<void>
}

type Known = ReadonlyMap<string, StoppedOwner & { readonly untilMs: number }>

const none: Known = new Map()

/** Follows, and writes, the ConfigMap of stopped owners. */
export function createStoppedOwners(options: StoppedOwnersOptions): StoppedOwners {
  const { client, namespace, log, now = Date.now } = options
  const resource = resourceOf('configmaps', namespace)
  const reflector = new Reflector<Known>({
    client,
    resource,
    fieldSelector: `metadata.name=${objectName}`,
    project: (raw) => readOwners(raw, log),
    optional: true,
    log,
  })
  const known = (): Known => reflector.get(`${namespace}/${objectName}`) ?? none
  const isStopped = (owner: { readonly untilMs: number } | undefined): boolean =>
    owner !== undefined && owner.untilMs > now()

  async function write(owner: StoppedOwner, signal: AbortSignal): Promise<void> {
    const found = await getObject<ConfigMap>(client, resource, objectName, { signal })
    const owners = [...(found === undefined ? none : readOwners(found, log)).values()]
      .filter(({ uid, untilMs }) => uid !== owner.uid && untilMs + rememberedMs > now())
      .map(({ untilMs: _, ...kept }) => kept)
    const kept = [owner, ...owners.sort((a, b) => (a.until > b.until ? -1 : 1))]
    const data = { [key]: JSON.stringify(kept.slice(0, ownersLimit)) }
    const metadata = {
      name: objectName,
      resourceVersion: found?.metadata?.resourceVersion,
      labels: { 'app.kubernetes.io/managed-by': 'kip', 'app.kubernetes.io/part-of': 'kip' },
    }
    await client.request({
      method: found === undefined ? 'POST' : 'PUT',
      path: resourcePath(resource, found === undefined ? undefined : objectName),
      body: { apiVersion: 'v1', kind: 'ConfigMap', metadata, data },
      signal,
    })
  }

  return {
    run: (signal) => reflector.run(signal),
    synced: reflector.synced,
    has: (uid) => isStopped(known().get(uid)),
    get: (uid) => known().get(uid),
    count: () => [...known().values()].filter(isStopped).length,
    async put(owner, signal) {
      for (let tries = 1; ; tries++) {
        try {
          await write(owner, signal)
          return
        } catch (error) {
          // Somebody else wrote: what it wrote is read and kept.
          const isConflict = error instanceof KubeApiError && error.status === 409
          if (!isConflict || tries === writeTries) throw error
        }
      }
    },
  }
}

/** Whatever somebody wrote there: what is no such list says nothing, and stops rewriting for nobody. */
export function readOwners(raw: ConfigMap, log: Log): Known {
  const text = raw.data?.[key]
  if (text === undefined) return none
  try {
    const parsed: unknown = JSON.parse(text)
    if (!Array.isArray(parsed)) throw new TypeError('not a list')
    return new Map(
      parsed
        .filter(isOwner)
        .slice(0, ownersLimit)
        .map((owner) => [owner.uid, { ...owner, untilMs: Date.parse(owner.until) }]),
    )
  } catch (err) {
    log.warn({ configMap: objectName, key, err }, 'stopped owners cannot be read')
    return none
  }
}

function isOwner(value: unknown): value is StoppedOwner {
  if (typeof value !== 'object' || value === null) return false
  const owner = value as Readonly<Record<string, unknown>>
  return (
    ['uid', 'name', 'until'].every((field) => typeof owner[field] === 'string') &&
    (owner.reason === 'Recreated' || owner.reason === 'Refused') &&
    typeof owner.times === 'number' &&
    !Number.isNaN(Date.parse(String(owner.until)))
  )
}
