import { setImmediate } from 'node:timers/promises'
import type { KubeClient, KubeRequest, RawAnswer, StreamAnswer } from '../../src/kube/client.ts'
import { KubeApiError } from '../../src/kube/errors.ts'
import type { KubeObject } from '../../src/kube/types.ts'

/**
 * A KubeClient over objects in memory, with the API server's rules for writes: a taken name is AlreadyExists, a stale
 * resourceVersion a Conflict, every change makes a new resourceVersion and an unchanged write none. Server-side apply
 * merges maps and replaces the rest. No lists and no watches.
 */
export class MemoryKube implements KubeClient {
  readonly server = 'memory:'
  readonly namespace = 'default'
  readonly objects = new Map<string, KubeObject>()
  readonly requests: KubeRequest[] = []
  /** Called before each request is carried out; may throw for it, or change objects under it. */
  before: ((request: KubeRequest) => void | Promise<void>) | undefined
  #revision = 100

  async request<T>(request: KubeRequest): Promise<T> {
    request.signal.throwIfAborted()
    this.requests.push(request)
    // Every request of a real client takes turns with the others.
    await setImmediate()
    await this.before?.(request)
    request.signal.throwIfAborted()
    return structuredClone(this.#answer(request)) as T
  }

  raw(): Promise<RawAnswer> {
    return Promise.reject(new Error('not in memory'))
  }

  stream(): Promise<StreamAnswer> {
    return Promise.reject(new Error('not in memory'))
  }

  async close(): Promise<void> {}

  /** Requests that wrote, or tried to. */
  get writes(): readonly KubeRequest[] {
    return this.requests.filter(({ method }) => method !== 'GET')
  }

  #answer({ method, path, body }: KubeRequest): KubeObject | undefined {
    const found = this.objects.get(path)
    switch (method) {
      case 'GET':
        return found ?? fail(404, 'NotFound', path)
      case 'POST': {
        const sent = body as KubeObject
        const own = `${path}/${sent.metadata?.name}`
        if (this.objects.has(own)) fail(409, 'AlreadyExists', own)
        return this.#store(own, sent, undefined)
      }
      case 'PUT': {
        if (found === undefined) fail(404, 'NotFound', path)
        return this.#store(path, body as KubeObject, found)
      }
      case 'PATCH':
        return this.#store(path, merge(found ?? {}, body) as KubeObject, found)
      case 'DELETE':
        if (found === undefined) fail(404, 'NotFound', path)
        this.objects.delete(path)
        return found
    }
  }

  #store(path: string, sent: KubeObject, found: KubeObject | undefined): KubeObject {
    const version = found?.metadata?.resourceVersion
    const asked = sent.metadata?.resourceVersion
    if (asked !== undefined && asked !== version) fail(409, 'Conflict', path)
    const uid = found?.metadata?.uid ?? `uid-${this.#revision}`
    const metadata = { ...sent.metadata, uid, ...(version && { resourceVersion: version }) }
    const same = found !== undefined && isDeepSame(found, { ...sent, metadata })
    if (same) return found
    const stored = { ...sent, metadata: { ...metadata, resourceVersion: `${++this.#revision}` } }
    this.objects.set(path, structuredClone(stored))
    return stored
  }
}

function fail(status: number, reason: string, path: string): never {
  throw new KubeApiError({ status, reason, message: `${path}: ${status} ${reason}` })
}

function isDeepSame(a: unknown, b: unknown): boolean {
  const canonical = (_key: string, value: unknown): unknown =>
    isMap(value) ? Object.fromEntries(Object.entries(value).sort()) : value
  return JSON.stringify(a, canonical) === JSON.stringify(b, canonical)
}

function merge(into: unknown, from: unknown): unknown {
  if (!isMap(into) || !isMap(from)) return from
  const merged: Record<string, unknown> = { ...into }
  for (const [key, value] of Object.entries(from)) merged[key] = merge(into[key], value)
  return merged
}

function isMap(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
