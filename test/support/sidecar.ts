import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { issueAuthority, issueServing } from '../../certs/issue.ts'
import { defaultLifetimes } from '../../certs/lifetimes.ts'
import { createObject, deleteObject } from '../../src/kube/apply.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import type { ResourcePath } from '../../src/kube/resource.ts'

export interface SidecarWebhookOptions {
  readonly client: KubeClient
  /** A command as it is run where the API server is. */
  readonly enter: (command: readonly string[]) => readonly string[]
  /** Of the webhook's configuration: the API server calls webhooks in the order of these names. */
  readonly name: string
  /** Of the container that is added. */
  readonly image: string
  /** Which pods it is called for: `namespaceSelector` and the like of a webhook. */
  readonly selector: object
}

const configurations: ResourcePath = {
  group: 'admissionregistration.k8s.io',
  version: 'v1',
  plural: 'mutatingwebhookconfigurations',
}

/**
 * Has somebody else's webhook add a container `sidecar` to pods as they are created.
 *
 * @returns how to end it, which removes its configuration
 */
export async function startSidecarWebhook(
  options: SidecarWebhookOptions,
): Promise<() => Promise<void>> {
  const { client, enter, name, image, selector } = options
  const { signal } = new AbortController()
  const folder = await mkdtemp(join(tmpdir(), 'kip-sidecar-'))
  const files = [join(folder, 'tls.crt'), join(folder, 'tls.key')] as const
  const program = fileURLToPath(new URL('sidecar-webhook.ts', import.meta.url))
  let child: ChildProcess | undefined
  const stop = async (): Promise<void> => {
    await deleteObject(client, configurations, name, { signal })
    child?.kill('SIGKILL')
    if (child?.exitCode === null && child.signalCode === null) await once(child, 'exit')
    await rm(folder, { recursive: true })
  }
  try {
    const context = { now: Date.now(), lifetimes: defaultLifetimes, names: ['127.0.0.1'] }
    const authority = await issueAuthority(context)
    const pair = await issueServing(authority, context)
    await writeFile(files[0], pair.certificate)
    await writeFile(files[1], pair.key, { mode: 0o600 })
    const [command = '', ...args] = enter([process.execPath, program, ...files, image])
    child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    const port = await listening(child)
    const webhook = {
      name: 'sidecar.kip.test',
      admissionReviewVersions: ['v1'],
      clientConfig: {
        url: `https://127.0.0.1:${port}/`,
        caBundle: Buffer.from(authority.certificate).toString('base64'),
      },
      rules: [
        { apiGroups: [''], apiVersions: ['v1'], operations: ['CREATE'], resources: ['pods'] },
      ],
      sideEffects: 'None',
      ...selector,
    }
    const object = {
      apiVersion: 'admissionregistration.k8s.io/v1',
      kind: 'MutatingWebhookConfiguration',
      metadata: { name },
      webhooks: [webhook],
    }
    await createObject(client, configurations, object, { signal })
    return stop
  } catch (error) {
    await stop()
    throw error
  }
}

/** The port that the program says it listens on. */
async function listening({ stdout }: ChildProcess): Promise<string> {
  if (stdout === null) throw new Error('no output')
  for await (const line of createInterface({ input: stdout })) {
    const port = /^listening (\d+)$/.exec(line)?.[1]
    if (port !== undefined) return port
  }
  throw new Error('the sidecar webhook ended before it served')
}
