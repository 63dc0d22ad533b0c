import type { TestContext } from 'node:test'
import { createMapping } from '../../../src/images/mapping.ts'
import { type CopyOutcome, runMirrorWorker } from '../../../src/mirror/worker.ts'
import { createRegistries } from '../../../src/registries.ts'
import type { Mirror } from '../../../src/state/cached-image.ts'
import { createMemoryStore } from '../../../src/state/memory-store.ts'
import type { ImageStore } from '../../../src/state/store.ts'
import type { Image } from '../../cluster/images/image.ts'
import { FakeRegistry, type FakeRegistryOptions } from '../../support/fake-registry.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

export interface WorkerBedOptions {
  readonly source?: FakeRegistryOptions
  readonly backup?: FakeRegistryOptions
  /** Where copies go; default: below the backup. */
  readonly registry?: (hosts: { readonly source: string; readonly backup: string }) => string
  /** What is in `registries.credentialsFile` now; absent: the setting is not given. */
  readonly credentialsFile?: () => string
}

const { signal } = new AbortController()

/** A source and a backup in this process, images to be copied, and a worker that has its own way to both. */
export async function workerBed(t: TestContext, options: WorkerBedOptions = {}) {
  const [source, backup] = await Promise.all([
    FakeRegistry.start(options.source),
    FakeRegistry.start(options.backup),
  ])
  const hosts = { source: source.host, backup: backup.host }
  const registry = options.registry?.(hosts) ?? `${backup.host}/mirror`
  const mapping = createMapping({ registry, mapping: 'path' })
  const client = createRegistries({
    authorities: '',
    settings: {
      mirror: { registry, user: '', password: '' },
      registries: {
        http: Object.values(hosts),
        allow: [source.host],
        trustedRealms: [],
        caFile: '',
        credentialsFile: options.credentialsFile === undefined ? '' : '/config.json',
      },
    } as unknown as Parameters<typeof createRegistries>[0]['settings'],
    readFile: () => options.credentialsFile?.() ?? '',
    clusterNetworks: [],
    userAgent: 'kip-test-worker',
    writeBackup: true,
  })
  const store = createMemoryStore()
  const outcomes: CopyOutcome[] = []
  const log = silentLog()
  const ends: (() => Promise<void>)[] = []
  t.after(async () => {
    for (const end of ends) await end()
    await client.close()
    await Promise.all([source.close(), backup.close()])
  })
  const entry = (reference: string): Mirror | undefined => store.get(reference)?.mirrors[0]

  async function put(reference: string, mirror: Partial<Mirror>): Promise<void> {
    const image = store.get(reference)
    if (image === undefined) throw new Error(`${reference} is not in the store`)
    const standing = image.mirrors[0] ?? { registry, reference: `${registry}/x:1` }
    await store.putMirror(image, { ...standing, state: 'Pending', ...mirror }, signal)
  }

  return {
    ...{ source, backup, registry, store, outcomes, log, entry, put },
    /** Puts an image into the source, and asks for a copy of it. @returns its reference */
    async want(image: Image, repository: string, mirror: Partial<Mirror> = {}): Promise<string> {
      const digest = await source.client.push(image, repository, '1')
      const reference = `${source.host}/${repository}:1`
      const firstSeen = '2026-01-01T00:00:00Z'
      const usage = { wanted: ['InUse' as const], pods: 1, workloads: 0, namespaces: 1, owners: [] }
      await store.putUsage(reference, { ...usage, firstSeen }, signal)
      const known = store.get(reference)
      if (known === undefined) throw new Error(`${reference} is not in the store`)
      await store.putSource(known, { state: 'Available', digest, checkedAt: firstSeen }, signal)
      await put(reference, mirror)
      return reference
    },
    /** Starts a worker that meets `seen` in place of the store. */
    work(seen: ImageStore = store): void {
      const controller = new AbortController()
      const ended = runMirrorWorker(
        {
          ...{ store: seen, client, mapping, registry, log, id: 'leader/1', concurrency: 2 },
          report: (outcome) => outcomes.push(outcome),
          now: Date.now,
          random: () => 0,
        },
        controller.signal,
      )
      ends.push(async () => {
        controller.abort()
        await ended
      })
    },
    reaches: (reference: string, state: Mirror['state']): Promise<Mirror> =>
      waitUntil(`${reference} ${state}`, () => {
        const now = entry(reference)
        return now?.state === state && now
      }),
  }
}
