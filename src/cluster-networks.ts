import type { KubeClient } from './kube/client.ts'
import type { Doubt } from './kube/doubt.ts'
import { isNotFound } from './kube/errors.ts'

interface ServiceCidrList {
  readonly items?: readonly { readonly spec?: { readonly cidrs?: readonly string[] } }[]
}

/**
 * The cluster's own addresses, which no image reference may lead kip to: the Service ranges and the API server.
 *
 * Ranges are objects of their own since Kubernetes 1.33 (networking.k8s.io/v1 ServiceCIDR); where they cannot be read, only
 * the API server's Service is known. It stays so for the life of the process, so no server that is just starting decides it.
 */
export async function clusterNetworks(
  client: KubeClient,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
  doubt: Doubt,
): Promise<readonly string[]> {
  const addresses = [env.KUBERNETES_SERVICE_HOST, new URL(client.server).hostname]
    .map((host) => host?.replace(/^\[|\]$/g, ''))
    .filter((host) => host !== undefined && /^[\d.]+$|:/.test(host))
  const ranges = await doubt.unlessForbidden(() => serviceRanges(client, signal), [], signal)
  return [...new Set([...(addresses as string[]), ...ranges])]
}

async function serviceRanges(client: KubeClient, signal: AbortSignal): Promise<readonly string[]> {
  try {
    const list = await client.request<ServiceCidrList>({
      method: 'GET',
      path: '/apis/networking.k8s.io/v1/servicecidrs',
      signal,
    })
    return (list.items ?? []).flatMap((item) => item.spec?.cidrs ?? [])
  } catch (error) {
    if (isNotFound(error)) return []
    throw error
  }
}
