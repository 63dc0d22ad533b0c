import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { imageEnvironment } from '../../../docker/bundle.ts'
import { createObject, deleteObject } from '../../../src/kube/apply.ts'
import { KubeApiError } from '../../../src/kube/errors.ts'
import type { ResourcePath } from '../../../src/kube/resource.ts'
import type { ImageState } from '../../../src/state/cached-image.ts'
import { eventually } from '../../cluster/index.ts'
import { freePorts } from '../../cluster/ports.ts'
import { type CachedImageObject, readCachedImages } from '../../support/cached-images.ts'
import { ContenderError } from '../harness/measure.ts'
import type { ControlPlane } from './control-plane.ts'

export interface WholeKipOptions {
  readonly plane: ControlPlane
  /** Node and kip's bundle. */
  readonly command: readonly string[]
  /** Repositories of the backup that its copies go to. */
  readonly place: string
  /** Namespace of its own, which exists. */
  readonly namespace: string
  /** Wraps the command line, such as into a control group. Default: as it is. */
  readonly enter?: (command: readonly string[]) => readonly string[]
  readonly signal: AbortSignal
}

/** `kip run` as one replica outside the cluster, leading: discovery, resolver, mirror and webhook. */
export interface WholeKip extends AsyncDisposable {
  readonly process: number
  /** Of its webhook, `host:port`. */
  readonly address: string
  /** State of an image's copy. */
  copyState(image: string): Promise<string | undefined>
}

const cachedImages: ResourcePath = {
  ...{ group: 'images.kip', version: 'v1alpha1', plural: 'cachedimages' },
}

/** Starts kip; returns when the three images of the review are copied and its webhook is registered. */
export async function startWholeKip(options: WholeKipOptions): Promise<WholeKip> {
  const { plane, command, place, namespace, enter = (line) => line, signal } = options
  const { cluster, source, backup } = plane
  const [webhook = 0, status = 0] = await freePorts(2)
  const registry = `${backup.host}/${place}`
  const settings = {
    kubeconfig: cluster.kubeconfig,
    namespace,
    port: status,
    'log.level': 'warn',
    // A Lease of its own: nobody waits for one before to expire.
    'leaderElection.name': place,
    'puller.enabled': false,
    'mirror.registry': registry,
    'registries.http': `${source.host},${backup.host}`,
    'registries.allow': source.host,
    'admission.port': webhook,
    'admission.url': `https://127.0.0.1:${webhook}/mutate`,
  }
  const flags = Object.entries(settings).map(([name, value]) => `--${name}=${value}`)
  const line = enter([...command, 'run', ...flags])
  const [program = '', ...args] = ['setpriv', '--pdeathsig', 'KILL', ...line]
  const child = spawn(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...imageEnvironment(), PATH: process.env.PATH },
  })
  const said = text(child.stderr)
  const end = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'exit')
    // Not SIGTERM, after which it would drain for seconds.
    child.kill('SIGKILL')
    await ended
  }
  const copyState = async (image: string): Promise<string | undefined> => {
    const found = (await readCachedImages(cluster)).find(({ spec }) => spec.reference === image)
    return mirrorOf(found, registry)?.state
  }
  try {
    await eventually(
      'kip that leads and has copied',
      async () => {
        if (child.exitCode !== null) throw new ContenderError(await said)
        const ready = await fetch(`http://127.0.0.1:${status}/readyz`, { signal })
        const states = await Promise.all(plane.images.map(copyState))
        return ready.ok && states.every((state) => state === 'Verified')
      },
      { timeoutMs: 60_000, signal },
    )
  } catch (error) {
    await end()
    throw error
  }
  return {
    process: child.pid ?? 0,
    address: `127.0.0.1:${webhook}`,
    copyState,
    [Symbol.asyncDispose]: end,
  }
}

function mirrorOf(
  image: CachedImageObject | undefined,
  registry: string,
): ImageState['mirrors'][number] | undefined {
  return image?.status?.mirrors?.find((mirror) => mirror.registry === registry)
}

/** Has the three images of the review cached, unless they are. */
export async function requestImages(plane: ControlPlane, signal: AbortSignal): Promise<void> {
  for (const [index, image] of plane.images.entries())
    await requestImage(plane, `image-${index}`, image, signal).catch((error: unknown) => {
      if (!(error instanceof KubeApiError && error.status === 409)) throw error
    })
}

/** Has an image cached, as a user does by hand. */
export async function requestImage(
  { client }: ControlPlane,
  name: string,
  reference: string,
  signal: AbortSignal,
): Promise<void> {
  const object = {
    apiVersion: 'images.kip/v1alpha1',
    kind: 'CachedImage',
    metadata: { name },
    spec: { reference },
  }
  await createObject(client, cachedImages, object, { signal })
}

export async function forgetImage(
  { client }: ControlPlane,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  await deleteObject(client, cachedImages, name, { signal })
}
