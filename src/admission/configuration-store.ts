import { isDeepStrictEqual } from 'node:util'
import { sameCertificates } from '../../certs/pem.ts'
import {
  configurations,
  configurationName as name,
  trustedBundle,
  webhookName,
} from '../../certs/trusted-bundle.ts'
import { applyObject, deleteObject, getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import { isForbidden } from '../kube/errors.ts'
import { resourcePath } from '../kube/resource.ts'
import type { MutatingWebhook, MutatingWebhookConfiguration } from '../kube/types.ts'

const fieldManager = 'kip-admission'

/**
 * Takes all that the configuration names, by server-side apply, over nothing newer than `found`. What others added to lists
 * (a condition that never holds, another webhook) an apply leaves, so whatever still differs is replaced as a whole.
 */
export async function writeConfiguration(
  client: KubeClient,
  desired: MutatingWebhookConfiguration,
  found: MutatingWebhookConfiguration | undefined,
  signal: AbortSignal,
): Promise<MutatingWebhookConfiguration> {
  const { uid, resourceVersion } = found?.metadata ?? {}
  const metadata = { ...desired.metadata, ...(found && { uid, resourceVersion }) }
  const applied = await applyObject<MutatingWebhookConfiguration>(
    client,
    configurations,
    { ...desired, metadata },
    { fieldManager, force: true, signal },
  )
  if (isRight(applied, desired)) return applied
  return await client.request<MutatingWebhookConfiguration>({
    method: 'PATCH',
    path: resourcePath(configurations, name),
    query: { fieldManager },
    contentType: 'application/merge-patch+json',
    body: {
      metadata: { resourceVersion: applied.metadata?.resourceVersion },
      webhooks: desired.webhooks,
    },
    signal,
  })
}

/**
 * Deletes the configuration unless somebody else made it; false when there was none.
 *
 * Without the right to look there is none of ours either: rights and configuration come and go together.
 */
export async function removeConfiguration(
  client: KubeClient,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    const found = await getObject<MutatingWebhookConfiguration>(client, configurations, name, {
      signal,
    })
    const isOurs = found?.webhooks?.some((webhook) => webhook.name === webhookName) === true
    const { uid } = found?.metadata ?? {}
    if (!isOurs || uid === undefined) return false
    return await deleteObject(client, configurations, name, { uid, signal })
  } catch (error) {
    if (isForbidden(error)) return false
    throw error
  }
}

/**
 * Whether a configuration says what it is to say: one webhook, and in it each field that kip sets. Fields that kip does not
 * know, which an API server newer than kip may fill in, are passed over, and so are other owners.
 *
 * A bundle of the same certificates is right as it is written: cert-manager's injector ends it with a line feed, and would
 * put that back for ever.
 */
export function isRight(
  found: MutatingWebhookConfiguration,
  desired: MutatingWebhookConfiguration,
): boolean {
  const [webhook, ...others] = found.webhooks ?? []
  const [wanted] = desired.webhooks ?? []
  if (webhook === undefined || wanted === undefined || others.length > 0) return false
  const owners = found.metadata?.ownerReferences ?? []
  const hasOwners = desired.metadata?.ownerReferences?.every((owner) =>
    owners.some(({ uid }) => uid === owner.uid),
  )
  if (hasOwners === false) return false
  const { caBundle, ...endpoint } = webhook.clientConfig
  const { caBundle: wantedBundle, ...wantedEndpoint } = wanted.clientConfig
  if (!isDeepStrictEqual(endpoint, wantedEndpoint)) return false
  const isSameBundle =
    caBundle === wantedBundle ||
    (wantedBundle !== undefined && sameCertificates(trustedBundle(found), trustedBundle(desired)))
  if (!isSameBundle) return false
  const fields = Object.keys(wanted) as (keyof MutatingWebhook)[]
  return fields.every(
    (field) => field === 'clientConfig' || isDeepStrictEqual(webhook[field], wanted[field]),
  )
}
