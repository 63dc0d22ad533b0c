import { formatReference, parseReference } from '@containers/image-copy'
import type { Settings } from '../../config/settings.ts'
import type { ExternalData } from '../../decide/external-puller.ts'
import { createMapping } from '../../images/mapping.ts'
import { isCopyOf, originalKey, originalsAnnotation } from '../../images/originals.ts'
import { imagesOf } from '../../images/walker.ts'
import { readTexts } from '../../kube/annotations.ts'
import { getObject } from '../../kube/apply.ts'
import type { KubeClient } from '../../kube/client.ts'
import { isForbidden } from '../../kube/errors.ts'
import { resourceOf } from '../../kube/resource.ts'
import type { ConfigMap, Pod } from '../../kube/types.ts'
import { UsageError } from '../errors.ts'
import { type Explanation, explain } from './explain.ts'
import { KnownImages } from './known-images.ts'
import { Placements } from './placements.ts'

/** What `kip why` tells, and prints with `--output json`. */
export interface WhyReport {
  /** `NAMESPACE/POD` that was asked about. */
  readonly pod?: string
  /** Whose settings count. */
  readonly settingsOf: string
  readonly images: readonly (Explanation & {
    /** Of a pod: container, or `volume/` and the volume, that names the image. */
    readonly container?: string
    /** Of a pod: whether it names the copy or its own image. */
    readonly now?: 'copy' | 'own'
  })[]
  /** What could not be read. */
  readonly notes: readonly string[]
}

export interface ReportOptions {
  readonly client: KubeClient
  readonly settings: Settings
  readonly settingsOf: string
  /** An image reference, or a pod as `NAMESPACE/POD`. */
  readonly subject: string
  /** Milliseconds since the epoch. */
  readonly now: number
  readonly signal: AbortSignal
}

type Asked = ReportOptions & { readonly external: ExternalData | undefined }

/**
 * Tells of an image, or of each image of a pod.
 *
 * @throws KubeApiError; UsageError when the subject is neither
 */
export async function reportOn(options: ReportOptions): Promise<WhyReport> {
  const { settingsOf, subject } = options
  const placements = new Placements(options)
  const pod = await findPod(options)
  const { external, notes } = await otherPuller(options)
  const lost = pod === undefined && podName.test(subject)
  const asked = { ...options, external }
  const images =
    pod === undefined
      ? [await imageReport(asked, placements)]
      : await podReport(pod, asked, placements)
  return {
    ...(pod && { pod: subject }),
    ...{
      settingsOf,
      images,
      notes: [
        ...(lost ? [`there is no pod ${subject}: it is taken for an image`] : []),
        ...placements.notes,
        ...notes,
      ],
    },
  }
}

/** What the puller goes by that holds images in kip's place, where one does. */
async function otherPuller({ client, settings, signal }: ReportOptions): Promise<{
  readonly external: ExternalData | undefined
  readonly notes: readonly string[]
}> {
  const { enabled, mode, externalNamespace, externalConfigMap: name } = settings.puller
  if (!enabled || mode !== 'external') return { external: undefined, notes: [] }
  const namespace = externalNamespace || settings.namespace
  const maps = resourceOf('configmaps', namespace)
  const map = await getObject<ConfigMap>(client, maps, name, { signal })
  const missing = `there is no ConfigMap ${namespace}/${name}, by which the puller there is told what to hold`
  return { external: map?.data ?? {}, notes: map === undefined ? [missing] : [] }
}

/** Only names of namespace and pod, which a reference with a tag, a digest or a registry's host never is. */
const podName = /^([a-z0-9](?:[-a-z0-9]*[a-z0-9])?)\/([a-z0-9](?:[-.a-z0-9]*[a-z0-9])?)$/

async function findPod({ client, subject, signal }: ReportOptions): Promise<Pod | undefined> {
  const [, namespace, name] = podName.exec(subject) ?? []
  if (namespace === undefined || name === undefined) return undefined
  const pods = resourceOf('pods', namespace)
  try {
    return await getObject<Pod>(client, pods, name, { signal })
  } catch (error) {
    if (!isForbidden(error)) throw error
    const fault = `${subject}: you may not read pods in ${namespace}; write an image with its tag`
    throw new UsageError([fault])
  }
}

async function imageReport(
  { client, settings, external, subject, now, signal }: Asked,
  placements: Placements,
): Promise<Explanation> {
  const reference = normalised(subject)
  if (reference === undefined) {
    throw new UsageError([`${subject}: is no image reference, and no pod as NAMESPACE/POD`])
  }
  const image = await new KnownImages({ client, signal }).find(reference)
  const namespaces = new Set(image?.usage?.owners.map(({ namespace }) => namespace))
  return explain({
    // A copy is told of as what it is a copy of.
    ...{ reference: image?.reference ?? reference, image, settings, external, now },
    placements: await Promise.all([...namespaces].map((namespace) => placements.of(namespace))),
  })
}

async function podReport(
  pod: Pod,
  { client, settings, external, subject, now, signal }: Asked,
  placements: Placements,
): Promise<WhyReport['images']> {
  const namespace = pod.metadata?.namespace ?? subject.split('/', 1)[0] ?? ''
  const placement = await placements.ofPod(pod, namespace)
  const { pullSecret } = settings.mirror
  const namesSecret =
    pullSecret === '' || pod.spec?.imagePullSecrets?.some(({ name }) => name === pullSecret)
  const mapping = createMapping(settings.mirror)
  const images = new KnownImages({ client, signal })
  const originals = readTexts(pod.metadata?.annotations?.[originalsAnnotation])
  return await Promise.all(
    imagesOf(pod.spec ?? {}).map(async (use) => {
      const original = originals.get(originalKey(use))
      const named = normalised(use.reference)
      const isCopy =
        original !== undefined &&
        named !== undefined &&
        isCopyOf(parseReference(named), original, mapping)
      const written = isCopy ? original : use.reference
      const reference = normalised(written)
      const image = reference === undefined ? undefined : await images.find(reference)
      const pullPolicy = use.pullPolicy === undefined ? {} : { pullPolicy: use.pullPolicy }
      // A pod that runs takes no new secret.
      const lacksPullSecret =
        placement.lacksPullSecret === true || (use.place === 'ephemeral' && !namesSecret)
      const placed = { ...placement, lacksPullSecret, ...pullPolicy }
      return {
        container: originalKey(use),
        now: names(isCopy || (image !== undefined && image.reference !== reference)),
        ...explain({
          reference: reference ?? written,
          image,
          settings,
          external,
          now,
          placements: [placed],
        }),
      }
    }),
  )
}

function names(copy: boolean): 'copy' | 'own' {
  return copy ? 'copy' : 'own'
}

function normalised(written: string): string | undefined {
  try {
    return formatReference(parseReference(written))
  } catch {
    return undefined
  }
}
