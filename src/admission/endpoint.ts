import { once } from 'node:events'
import { connect } from 'node:tls'
import type { KubeClient } from '../kube/client.ts'
import { resourceOf, resourcePath } from '../kube/resource.ts'
import type { KubeList, KubeObject } from '../kube/types.ts'

interface EndpointSlice extends KubeObject {
  readonly endpoints?:
    | readonly { readonly conditions?: { readonly ready?: boolean | null } }[]
    | null
}

/**
 * Whether the Service of the webhook has somebody to send requests to.
 *
 * @throws KubeApiError
 */
export async function hasReadyEndpoint(
  client: KubeClient,
  service: { readonly namespace: string; readonly name: string },
  signal: AbortSignal,
): Promise<boolean> {
  const { namespace, name } = service
  const slices = await client.request<KubeList<EndpointSlice>>({
    method: 'GET',
    path: resourcePath(resourceOf('endpointslices', namespace)),
    query: { labelSelector: `kubernetes.io/service-name=${name}` },
    signal,
  })
  // discovery/v1: a readiness that is not told is to be taken for ready.
  return (slices.items ?? []).some(({ endpoints }) =>
    endpoints?.some(({ conditions }) => conditions?.ready !== false),
  )
}

/**
 * Shakes hands with the webhook at its URL, as an API server would.
 *
 * @param bundle PEM bundle; empty: the system's authorities.
 * @throws the connection's error: refused, or a certificate that the bundle does not stand for.
 */
export async function checkUrl(url: string, bundle: string, signal: AbortSignal): Promise<void> {
  const { hostname, port } = new URL(url)
  const host = hostname.replace(/^\[(.*)\]$/, '$1')
  const socket = connect({
    host,
    port: Number(port || 443),
    ...(bundle !== '' && { ca: bundle }),
    // An address is no name to ask for (RFC 6066), and is checked against the certificate all the same.
    ...(/[a-z]/i.test(host) && !host.includes(':') && { servername: host }),
  })
  try {
    await once(socket, 'secureConnect', {
      signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]),
    })
  } finally {
    socket.destroy()
  }
}
