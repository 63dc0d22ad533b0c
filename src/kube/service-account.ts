import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ClusterAccess, Credentials } from './access.ts'
import { KubeConfigError } from './errors.ts'

/** Where the kubelet mounts a pod's service account. */
export const serviceAccountDir = '/var/run/secrets/kubernetes.io/serviceaccount'

/** The kubelet writes a new token at 80 % of the old one's life (at least 10 minutes); client-go too looks each minute. */
const rereadMs = 60_000

export interface ServiceAccountOptions {
  readonly dir?: string
  /** `KUBERNETES_SERVICE_HOST` and `KUBERNETES_SERVICE_PORT` of the pod. */
  readonly host?: string | undefined
  readonly port?: string | undefined
  readonly now?: () => number
}

/** Access as the pod's own service account, read from disk again and again: tokens and CA bundles are replaced there. */
export async function serviceAccountAccess(
  options: ServiceAccountOptions = {},
): Promise<ClusterAccess> {
  const dir = options.dir ?? serviceAccountDir
  const now = options.now ?? (() => performance.now())
  const host = options.host ?? 'kubernetes.default.svc'
  const port = options.port ?? '443'
  const [namespace, first] = await Promise.all([readNamespace(dir), readCredentials(dir)])
  let current = first
  let readAt = now()
  let reading: Promise<void> | undefined
  const reread = async (): Promise<void> => {
    try {
      const next = await readCredentials(dir)
      if (!same(next, current)) current = next
    } catch {
      // The mount is being replaced: what was read last still holds, and the next look comes.
    }
    readAt = now()
  }
  return {
    server: `https://${host.includes(':') ? `[${host}]` : host}:${port}`,
    namespace,
    async credentials(refused) {
      if (refused === current || now() - readAt >= rereadMs) {
        reading ??= reread().finally(() => {
          reading = undefined
        })
        await reading
      }
      return current
    },
  }
}

async function readCredentials(dir: string): Promise<Credentials> {
  try {
    const [token, ca] = await Promise.all([
      readFile(join(dir, 'token'), 'utf8'),
      readFile(join(dir, 'ca.crt'), 'utf8'),
    ])
    return { headers: { authorization: `Bearer ${token.trim()}` }, tls: { ca } }
  } catch (error) {
    throw new KubeConfigError(
      `${dir}: no service account to read; outside a cluster, name a kubeconfig`,
      { cause: error },
    )
  }
}

async function readNamespace(dir: string): Promise<string> {
  try {
    return (await readFile(join(dir, 'namespace'), 'utf8')).trim()
  } catch {
    return 'default'
  }
}

function same(a: Credentials, b: Credentials): boolean {
  return a.tls.ca === b.tls.ca && a.headers.authorization === b.headers.authorization
}
