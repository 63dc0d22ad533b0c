import type { KubeClient } from './kube/client.ts'
import { KubeApiError } from './kube/errors.ts'

interface ServiceCidrList {
  readonly items?: readonly { readonly spec?: { readonly cidrs?: readonly string[] } }[]
}

/**
 * The cluster's own addresses, which no image reference may lead kip to: the Service ranges and the API server.
 *
 * Ranges are objects of their own since Kubernetes 1.33 (networking.k8s.io/v1 ServiceCIDR); where they cannot be read, only
 * the API server's Service is known.
 */
export async function clusterNetworks(
  client: KubeClient,
  env: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const addresses = [env.KUBERNETES_SERVICE_HOST, new URL(client.server).hostname]
    .map((host) => host?.replace(/^\[|\]$/g, ''))
    .filter((host) => host !== undefined && /^[\d.]+$|:/.test(host))
  try {
    const list = await client.request<ServiceCidrList>({
      method: 'GET',
      path: '/apis/networking.k8s.io/v1/servicecidrs',
      signal,
    })
    const ranges = (list.items ?? []).flatMap((item) => item.spec?.cidrs ?? [])
    return [...new Set([...(addresses as string[]), ...ranges])]
  } catch (error) {
    if (error instanceof KubeApiError && (error.status === 403 || error.status === 404))
      return addresses as string[]
    throw error
  }
}
