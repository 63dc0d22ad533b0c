import { type ResourcePath, resourceOf } from '../src/kube/resource.ts'
import type { MutatingWebhookConfiguration } from '../src/kube/types.ts'

/** Name of the configuration in which API servers look up whom to trust; one kip a cluster registers its webhook. */
export const configurationName = 'kip'
/** Name of the one webhook in it; audit annotations begin with it. */
export const webhookName = 'rewrite.images.kip'

/** Where webhook configurations are. */
export const configurations: ResourcePath = resourceOf('mutatingwebhookconfigurations')

/** PEM bundle by which API servers check kip's webhook; empty: none. */
export function trustedBundle({ webhooks = [] }: MutatingWebhookConfiguration): string {
  const webhook = webhooks.find((one) => one.name === webhookName)
  return Buffer.from(webhook?.clientConfig.caBundle ?? '', 'base64').toString()
}
