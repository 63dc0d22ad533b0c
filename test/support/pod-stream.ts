import { setTimeout as sleep } from 'node:timers/promises'
import { createObject, deleteObject } from '../../src/kube/apply.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import type { ResourcePath } from '../../src/kube/resource.ts'
import type { Pod } from '../../src/kube/types.ts'

export interface PodStreamOptions {
  readonly client: KubeClient
  readonly namespace: string
  readonly image: string
  /** Of the name of each pod. */
  readonly prefix: string
}

/** Pods at a time, and how long each lane rests between two: some 50 pods a second on an idle machine of two cores. */
const LANES = 2
const REST_MS = 20

/**
 * Creates pods without a pause until stopped. They are real ones, which the API server keeps, but no scheduler takes them: a
 * gate holds them, and they are deleted as soon as they were seen.
 */
export class PodStream {
  readonly #options: PodStreamOptions
  readonly #stop = new AbortController()
  readonly #running: Promise<unknown>
  readonly #images: string[] = []
  #count = 0

  constructor(options: PodStreamOptions) {
    this.#options = options
    this.#running = Promise.all(Array.from({ length: LANES }, () => this.#lane()))
    // It is thrown by stop().
    this.#running.catch(() => undefined)
  }

  /** Image of each pod so far, as the API server made it. */
  get images(): readonly string[] {
    return this.#images
  }

  /** @throws what the API server refused a pod with */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#running
  }

  async #lane(): Promise<void> {
    const { client, namespace, image, prefix } = this.#options
    const { signal } = new AbortController()
    const pods: ResourcePath = { group: '', version: 'v1', plural: 'pods', namespace }
    while (!this.#stop.signal.aborted) {
      const name = `${prefix}-${this.#count++}`
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name, namespace },
        spec: {
          schedulingGates: [{ name: 'kip.test/never' }],
          terminationGracePeriodSeconds: 0,
          containers: [{ name: 'main', image }],
        },
      }
      const created = await createObject<Pod>(client, pods, pod, { signal })
      this.#images.push(created.spec?.containers?.[0]?.image ?? '')
      await deleteObject(client, pods, name, { signal })
      await sleep(REST_MS, undefined, { signal: this.#stop.signal }).catch(() => undefined)
    }
  }
}
