import type { KubeClient } from './client.ts'
import { isNotFound } from './errors.ts'
import { type ResourcePath, resourcePath } from './resource.ts'
import type { KubeObject } from './types.ts'

export interface ReadOptions {
  readonly signal: AbortSignal
  readonly timeoutMs?: number
}

export interface WriteOptions extends ReadOptions {
  readonly subresource?: string
  /** Checked and answered, never stored. */
  readonly dryRun?: boolean
}

export interface ApplyOptions extends WriteOptions {
  /** Who owns the fields that the object names; at most 128 characters. */
  readonly fieldManager: string
  /** Takes fields that another manager owns. Default false: such a field is a conflict (409, see `conflictingManagers`). */
  readonly force?: boolean
}

export interface DeleteOptions extends ReadOptions {
  /** Deletes only this very object, not a namesake made since. */
  readonly uid?: string
  /** Deletes only if nobody wrote since. */
  readonly resourceVersion?: string
  readonly propagationPolicy?: 'Foreground' | 'Background' | 'Orphan'
}

/**
 * Server-side apply: says which fields `fieldManager` wants and how; fields that it applied before and no longer names go.
 *
 * A `metadata.resourceVersion` in the object makes the apply conditional: stale is 409 `Conflict`. A conflict of
 * ownership is 409 `Conflict` too and names the managers. Neither is retried here.
 *
 * @param object - must name apiVersion, kind and metadata.name; never managedFields
 * @throws KubeApiError
 * @see https://kubernetes.io/docs/reference/using-api/server-side-apply/
 */
export async function applyObject<T extends KubeObject>(
  client: KubeClient,
  resource: ResourcePath,
  object: KubeObject,
  options: ApplyOptions,
): Promise<T> {
  const name = object.metadata?.name
  if (name === undefined || object.apiVersion === undefined || object.kind === undefined) {
    throw new TypeError('applyObject: the object needs apiVersion, kind and metadata.name')
  }
  return await client.request<T>({
    method: 'PATCH',
    path: resourcePath(resource, name, options.subresource),
    query: {
      fieldManager: options.fieldManager,
      force: options.force === true ? 'true' : undefined,
      dryRun: options.dryRun === true ? 'All' : undefined,
    },
    // JSON is YAML, which is what the media type asks for.
    contentType: 'application/apply-patch+yaml',
    body: object,
    ...timing(options),
  })
}

/** Reads one object; undefined when there is none. */
export async function getObject<T extends KubeObject>(
  client: KubeClient,
  resource: ResourcePath,
  name: string,
  options: ReadOptions,
): Promise<T | undefined> {
  try {
    return await client.request<T>({
      method: 'GET',
      path: resourcePath(resource, name),
      ...timing(options),
    })
  } catch (error) {
    if (isNotFound(error)) return undefined
    throw error
  }
}

/** Makes an object; 409 `AlreadyExists` when its name is taken. */
export async function createObject<T extends KubeObject>(
  client: KubeClient,
  resource: ResourcePath,
  object: KubeObject,
  options: WriteOptions & { readonly fieldManager?: string },
): Promise<T> {
  return await client.request<T>({
    method: 'POST',
    path: resourcePath(resource),
    query: {
      fieldManager: options.fieldManager,
      dryRun: options.dryRun === true ? 'All' : undefined,
    },
    body: object,
    ...timing(options),
  })
}

/** Replaces an object; its resourceVersion, when it has one, must be the newest (409 `Conflict` if not). */
export async function updateObject<T extends KubeObject>(
  client: KubeClient,
  resource: ResourcePath,
  object: KubeObject,
  options: WriteOptions & { readonly fieldManager?: string },
): Promise<T> {
  const name = object.metadata?.name
  if (name === undefined) throw new TypeError('updateObject: the object needs metadata.name')
  return await client.request<T>({
    method: 'PUT',
    path: resourcePath(resource, name, options.subresource),
    query: {
      fieldManager: options.fieldManager,
      dryRun: options.dryRun === true ? 'All' : undefined,
    },
    body: object,
    ...timing(options),
  })
}

/** Deletes an object; false when there was none (any more). A failed precondition is 409 `Conflict`. */
export async function deleteObject(
  client: KubeClient,
  resource: ResourcePath,
  name: string,
  options: DeleteOptions,
): Promise<boolean> {
  const preconditions = {
    ...(options.uid === undefined ? {} : { uid: options.uid }),
    ...(options.resourceVersion === undefined ? {} : { resourceVersion: options.resourceVersion }),
  }
  try {
    await client.request({
      method: 'DELETE',
      path: resourcePath(resource, name),
      body: {
        apiVersion: 'v1',
        kind: 'DeleteOptions',
        ...(Object.keys(preconditions).length === 0 ? {} : { preconditions }),
        ...(options.propagationPolicy === undefined
          ? {}
          : { propagationPolicy: options.propagationPolicy }),
      },
      ...timing(options),
    })
    return true
  } catch (error) {
    if (isNotFound(error)) return false
    throw error
  }
}

function timing(options: ReadOptions): { signal: AbortSignal; timeoutMs?: number } {
  return {
    signal: options.signal,
    ...(options.timeoutMs === undefined ? {} : { timeoutMs: options.timeoutMs }),
  }
}
