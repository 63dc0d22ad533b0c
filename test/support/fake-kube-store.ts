import { randomUUID } from 'node:crypto'
import type { KubeObject, Status } from '../../src/kube/types.ts'
import {
  ApplyConflict,
  applyFields,
  type Json,
  type Managed,
  noteUpdate,
} from './fake-kube-apply.ts'

export type FakeObject = KubeObject & { readonly [field: string]: unknown }

/** One change of one object. */
export interface Change {
  readonly version: number
  readonly type: 'ADDED' | 'MODIFIED' | 'DELETED'
  readonly collection: string
  readonly object: FakeObject
  /** What stood before, for selectors. */
  readonly before?: FakeObject
}

/** A refusal, as the API server words it. */
export class Refusal extends Error {
  readonly status: Status
  readonly headers: Readonly<Record<string, string>>
  constructor(
    code: number,
    reason: string,
    message: string,
    details?: Status['details'],
    headers: Readonly<Record<string, string>> = {},
  ) {
    super(message)
    this.status = {
      kind: 'Status',
      status: 'Failure',
      code,
      reason,
      message,
      ...(details === undefined ? {} : { details }),
    }
    this.headers = headers
  }
}

export interface Write {
  readonly manager: string
  readonly subresource?: string
  readonly dryRun?: boolean
  readonly force?: boolean
}

interface Stored {
  object: FakeObject
  managed: Managed
}

/** Objects with the API server's rules on versions, uids, generations, preconditions and field ownership. */
export class FakeStore {
  /** `group/version/plural` -> `namespace/name` -> object */
  readonly #collections = new Map<string, Map<string, Stored>>()
  readonly #listeners = new Set<(change: Change) => void>()
  #version = 1000
  #history: Change[] = []
  /** Versions before this one are compacted away. */
  oldest = 1000

  get version(): number {
    return this.#version
  }

  /** Forgets history up to now: older watches and continue tokens get 410. */
  compact(): void {
    this.#history = []
    this.oldest = this.#version
  }

  /**
   * Goes on from another version number, as a server restored from a backup: an earlier one, or a later one where revisions
   * are bumped at the restore. Objects keep theirs.
   */
  restoreAt(version: number): void {
    this.#version = version
    this.#history = []
    this.oldest = version
  }

  since(version: number): readonly Change[] {
    return this.#history.filter((change) => change.version > version)
  }

  onChange(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  get(collection: string, key: string): FakeObject | undefined {
    return this.#collections.get(collection)?.get(key)?.object
  }

  list(collection: string): readonly FakeObject[] {
    const stored = this.#collections.get(collection) ?? new Map<string, Stored>()
    return [...stored].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, { object }]) => object)
  }

  create(collection: string, key: string, sent: FakeObject, write: Write): FakeObject {
    if (this.get(collection, key) !== undefined) {
      const name = sent.metadata?.name ?? ''
      throw new Refusal(409, 'AlreadyExists', `${collection} "${name}" already exists`)
    }
    if (sent.metadata?.resourceVersion) {
      throw new Refusal(
        400,
        'BadRequest',
        'resourceVersion should not be set on objects to be created',
      )
    }
    validate(collection, sent)
    const { status: _status, ...withoutStatus } = sent
    const object = stamp(hasStatus(collection) ? withoutStatus : sent, {
      uid: randomUUID(),
      creationTimestamp: new Date().toISOString().replace(/\.\d+/, ''),
      generation: 1,
    })
    const managed: Managed = new Map()
    noteUpdate({}, owned(object), managed, write.manager)
    return this.#store('ADDED', collection, key, object, managed, write)
  }

  update(collection: string, key: string, sent: FakeObject, write: Write): FakeObject {
    const stored = this.#require(collection, key)
    checkVersion(stored.object, sent.metadata?.resourceVersion, key)
    if (sent.metadata?.uid !== undefined && sent.metadata.uid !== stored.object.metadata?.uid) {
      throw new Refusal(
        409,
        'Conflict',
        `Precondition failed: UID in precondition: ${sent.metadata.uid}`,
      )
    }
    validate(collection, sent)
    const object = this.#merge(collection, stored.object, sent, write.subresource)
    const managed = copyManaged(stored.managed)
    noteUpdate(owned(stored.object), owned(object), managed, write.manager)
    return this.#store('MODIFIED', collection, key, object, managed, write)
  }

  apply(collection: string, key: string, sent: FakeObject, write: Write): FakeObject {
    const stored = this.#collections.get(collection)?.get(key)
    if (stored === undefined && write.subresource !== undefined) {
      throw new Refusal(404, 'NotFound', `${collection} "${key}" not found`)
    }
    if (stored === undefined && sent.metadata?.resourceVersion) {
      throw new Refusal(409, 'Conflict', `${collection} "${key}": the object has been modified`)
    }
    if (stored !== undefined) checkVersion(stored.object, sent.metadata?.resourceVersion, key)
    const managed: Managed = stored === undefined ? new Map() : copyManaged(stored.managed)
    const live = stored?.object ?? { apiVersion: sent.apiVersion ?? '', kind: sent.kind ?? '' }
    const part = applied(collection, sent, write.subresource)
    const manager = write.subresource === undefined ? write.manager : `${write.manager}/status`
    let merged: FakeObject
    try {
      merged = applyFields(live as Json, part, managed, manager, write.force === true) as never
    } catch (error) {
      if (!(error instanceof ApplyConflict)) throw error
      throw new Refusal(409, 'Conflict', error.message, {
        causes: error.causes.map(({ manager: other, field }) => ({
          reason: 'FieldManagerConflict',
          message: `conflict with "${other.replace(/\/(update|status)$/, '')}"`,
          field,
        })),
      })
    }
    validate(collection, merged)
    if (stored === undefined) {
      const [, namespace, name] = /^(?:(.*)\/)?(.*)$/.exec(key) ?? []
      const object = stamp(merged, {
        ...(namespace === undefined ? {} : { namespace }),
        name: name ?? '',
        uid: randomUUID(),
        creationTimestamp: new Date().toISOString().replace(/\.\d+/, ''),
        generation: 1,
      })
      return this.#store('ADDED', collection, key, object, managed, write)
    }
    const object = bump(stored.object, stamp(merged, kept(stored.object)))
    if (JSON.stringify(object) === JSON.stringify(stored.object)) {
      stored.managed = managed
      return stored.object
    }
    return this.#store('MODIFIED', collection, key, object, managed, write)
  }

  mergePatch(collection: string, key: string, patch: Json, write: Write): FakeObject {
    const stored = this.#require(collection, key)
    const sent = mergeJson(stored.object as Json, patch) as FakeObject
    const version = (patch as { metadata?: { resourceVersion?: string } }).metadata?.resourceVersion
    return this.update(
      collection,
      key,
      stamp(sent, { resourceVersion: version ?? stored.object.metadata?.resourceVersion ?? '' }),
      write,
    )
  }

  delete(
    collection: string,
    key: string,
    preconditions: { readonly uid?: string; readonly resourceVersion?: string } = {},
  ): FakeObject {
    const stored = this.#require(collection, key)
    const { uid, resourceVersion } = stored.object.metadata ?? {}
    if (preconditions.uid !== undefined && preconditions.uid !== uid) {
      throw new Refusal(
        409,
        'Conflict',
        `Precondition failed: UID in precondition: ${preconditions.uid}`,
      )
    }
    if (
      preconditions.resourceVersion !== undefined &&
      preconditions.resourceVersion !== resourceVersion
    ) {
      throw new Refusal(409, 'Conflict', 'Precondition failed: ResourceVersion in precondition')
    }
    this.#collections.get(collection)?.delete(key)
    const object = stamp(stored.object, { resourceVersion: String(++this.#version) })
    this.#tell({
      version: this.#version,
      type: 'DELETED',
      collection,
      object,
      before: stored.object,
    })
    return object
  }

  #require(collection: string, key: string): Stored {
    const stored = this.#collections.get(collection)?.get(key)
    if (stored === undefined) throw new Refusal(404, 'NotFound', `${collection} "${key}" not found`)
    return stored
  }

  /** A PUT changes everything but the status; a PUT of the status changes nothing else. */
  #merge(collection: string, live: FakeObject, sent: FakeObject, subresource?: string): FakeObject {
    if (subresource === 'status') return { ...live, status: sent.status }
    const next = stamp(sent, kept(live))
    const { status: _status, ...withoutStatus } = next
    const object = !hasStatus(collection)
      ? next
      : { ...withoutStatus, ...(live.status === undefined ? {} : { status: live.status }) }
    return bump(live, object)
  }

  #store(
    type: 'ADDED' | 'MODIFIED',
    collection: string,
    key: string,
    draft: FakeObject,
    managed: Managed,
    write: Write,
  ): FakeObject {
    const before = this.get(collection, key)
    if (write.dryRun === true) return draft
    const object = stamp(draft, { resourceVersion: String(++this.#version) })
    let objects = this.#collections.get(collection)
    if (objects === undefined) {
      objects = new Map()
      this.#collections.set(collection, objects)
    }
    objects.set(key, { object, managed })
    this.#tell({
      version: this.#version,
      type,
      collection,
      object,
      ...(before === undefined ? {} : { before }),
    })
    return object
  }

  #tell(change: Change): void {
    this.#history.push(change)
    for (const listener of this.#listeners) listener(change)
  }
}

function hasStatus(collection: string): boolean {
  return !/\/(leases|secrets|configmaps|events|mutatingwebhookconfigurations)$/.test(collection)
}

function checkVersion(live: FakeObject, sent: string | undefined, key: string): void {
  if (sent === undefined || sent === '' || sent === live.metadata?.resourceVersion) return
  throw new Refusal(
    409,
    'Conflict',
    `Operation cannot be fulfilled on "${key}": the object has been modified; please apply your changes to the latest version and try again`,
  )
}

function stamp(object: FakeObject, metadata: object): FakeObject {
  return { ...object, metadata: { ...object.metadata, ...metadata } }
}

/** What no client changes. */
function kept(live: FakeObject): object {
  const { uid, creationTimestamp, generation, resourceVersion } = live.metadata ?? {}
  return { uid, creationTimestamp, generation, resourceVersion }
}

/** A changed spec is a new generation. */
function bump(live: FakeObject, next: FakeObject): FakeObject {
  const same = JSON.stringify(live.spec) === JSON.stringify(next.spec)
  return same ? next : stamp(next, { generation: (live.metadata?.generation ?? 0) + 1 })
}

/** The fields of an apply that its endpoint looks at. */
function applied(collection: string, sent: FakeObject, subresource?: string): Json {
  const { metadata, status, ...rest } = sent
  if (subresource === 'status') return { status: (status ?? {}) as Json }
  const { labels, annotations, ownerReferences, finalizers } = metadata ?? {}
  const meta = Object.fromEntries(
    Object.entries({ labels, annotations, ownerReferences, finalizers }).filter(
      ([, value]) => value !== undefined,
    ),
  )
  const { apiVersion: _apiVersion, kind: _kind, ...fields } = rest
  return {
    ...(fields as { [key: string]: Json }),
    ...(Object.keys(meta).length === 0 ? {} : { metadata: meta as Json }),
    ...(hasStatus(collection) || status === undefined ? {} : { status: status as Json }),
  }
}

/** What field ownership is kept of. */
function owned(object: FakeObject): Json {
  const { apiVersion: _apiVersion, kind: _kind, metadata, ...rest } = object
  const { labels, annotations, ownerReferences } = metadata ?? {}
  return JSON.parse(
    JSON.stringify({ ...rest, metadata: { labels, annotations, ownerReferences } }),
  ) as Json
}

function copyManaged(managed: Managed): Managed {
  return new Map(
    [...managed].map(([name, { apply, paths }]) => [name, { apply, paths: new Set(paths) }]),
  )
}

/** RFC 7386. */
function mergeJson(target: Json, patch: Json): Json {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch
  const result: { [key: string]: Json } =
    typeof target === 'object' && target !== null && !Array.isArray(target)
      ? { ...(target as { [key: string]: Json }) }
      : {}
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete result[key]
    else result[key] = mergeJson(result[key] ?? null, value)
  }
  return result
}

/** The few rules of validation that clients have stumbled over. */
function validate(collection: string, object: FakeObject): void {
  if (!collection.endsWith('/leases')) return
  const spec = (object.spec ?? {}) as Record<string, unknown>
  for (const field of ['acquireTime', 'renewTime']) {
    const value = spec[field]
    if (value === undefined || value === null) continue
    if (
      typeof value !== 'string' ||
      !/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$/.test(value)
    ) {
      throw new Refusal(
        400,
        'BadRequest',
        `Lease in version "v1" cannot be handled as a Lease: parsing time "${String(value)}" as "2006-01-02T15:04:05.000000Z07:00"`,
      )
    }
  }
  const duration = spec.leaseDurationSeconds
  if (duration !== undefined && duration !== null && !((duration as number) > 0)) {
    throw new Refusal(
      422,
      'Invalid',
      'spec.leaseDurationSeconds: Invalid value: must be greater than 0',
    )
  }
}
