import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { configurationName, configurations } from '../../../certs/trusted-bundle.ts'
import { originalsAnnotation } from '../../../src/images/originals.ts'
import { createObject, deleteObject, getObject } from '../../../src/kube/apply.ts'
import type { KubeObject, MutatingWebhookConfiguration, Pod } from '../../../src/kube/types.ts'
import { ContenderError } from '../harness/measure.ts'
import type { ControlPlane } from './control-plane.ts'
import { CORES, startWebhookServer, type WebhookServer } from './webhook-server.ts'
import type { World } from './world.ts'

export interface ConstantPatchOptions {
  readonly world: World
  readonly plane: ControlPlane
  /** As it was posted, without annotations, and as kip had it made. */
  readonly posted: Pod
  readonly made: Pod
  /** Label of the namespaces whose pods it is asked about. */
  readonly selected: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

const NAME = 'constant-patch.kip.bench'

/**
 * Registers a webhook that answers kip's very patch from memory, under kip's conditions: what of a review's cost is the API
 * server's own, which judges, asks, applies the patch and runs its plug-ins once more.
 */
export async function startConstantPatch(options: ConstantPatchOptions): Promise<WebhookServer> {
  const { world, plane, selected, signal } = options
  const file = join(world.folder, 'patch.json')
  await writeFile(file, JSON.stringify(patchBetween(options.posted, options.made)))
  const command = [world.constantPatch, file, world.certificates]
  await using cleanup = new AsyncDisposableStack()
  const server = cleanup.use(await startWebhookServer(command, {}, signal, CORES.both))
  const authority = await readFile(join(world.certificates, 'ca.crt'))
  const kips = await getObject<MutatingWebhookConfiguration>(
    plane.client,
    configurations,
    configurationName,
    { signal },
  )
  const matchConditions = kips?.webhooks?.[0]?.matchConditions
  if (matchConditions === undefined) throw new ContenderError('kip registered no conditions')
  const pods = { apiGroups: [''], apiVersions: ['v1'], resources: ['pods'], operations: ['CREATE'] }
  const object: KubeObject & { readonly webhooks: readonly object[] } = {
    apiVersion: 'admissionregistration.k8s.io/v1',
    kind: 'MutatingWebhookConfiguration',
    metadata: { name: NAME },
    webhooks: [
      {
        name: NAME,
        admissionReviewVersions: ['v1'],
        clientConfig: {
          url: `https://${server.address}/mutate`,
          caBundle: authority.toString('base64'),
        },
        rules: [{ ...pods, scope: 'Namespaced' }],
        ...{ failurePolicy: 'Ignore', timeoutSeconds: 2, sideEffects: 'NoneOnDryRun' },
        ...{ matchPolicy: 'Equivalent', reinvocationPolicy: 'IfNeeded' },
        namespaceSelector: { matchLabels: selected },
        matchConditions,
      },
    ],
  }
  await createObject(plane.client, configurations, object, { signal })
  cleanup.defer(async () => {
    await deleteObject(plane.client, configurations, NAME, { signal })
  })
  const disposal = cleanup.move()
  return { ...server, [Symbol.asyncDispose]: () => disposal.disposeAsync() }
}

/** The JSON patch that kip answered: the images that differ, and the annotation. */
function patchBetween(posted: Pod, made: Pod): readonly object[] {
  const images = (['containers', 'initContainers'] as const).flatMap((list) =>
    (posted.spec?.[list] ?? []).flatMap(({ image }, index) => {
      const value = made.spec?.[list]?.[index]?.image
      return value === image ? [] : [{ op: 'replace', path: `/spec/${list}/${index}/image`, value }]
    }),
  )
  const originals = made.metadata?.annotations?.[originalsAnnotation]
  const annotations = { [originalsAnnotation]: originals }
  return [...images, { op: 'add', path: '/metadata/annotations', value: annotations }]
}
