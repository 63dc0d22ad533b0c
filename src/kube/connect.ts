import { access } from 'node:fs/promises'
import { join } from 'node:path'
import type { ClusterAccess } from './access.ts'
import type { KubeClient } from './client.ts'
import { KubeConfigError } from './errors.ts'
import { HttpKubeClient } from './http-client.ts'
import { kubeconfigAccess } from './kubeconfig.ts'
import { serviceAccountAccess, serviceAccountDir } from './service-account.ts'

export interface ConnectOptions {
  /** Path of a kubeconfig; '': `$KUBECONFIG`, then `~/.kube/config`, then the pod's service account. */
  readonly kubeconfig: string
  /** Environment that `KUBECONFIG`, `HOME`, `KUBERNETES_SERVICE_HOST` and `_PORT` are looked up in. Default: none. */
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly userAgent?: string
  readonly signal?: AbortSignal
}

/**
 * Finds the API server and the way in. Sends nothing yet; a wrong address shows at the first request.
 *
 * @throws KubeConfigError when nothing says where the API server is, or what says so is broken
 */
export async function connectCluster(options: ConnectOptions): Promise<KubeClient> {
  const found = await findAccess(options)
  options.signal?.throwIfAborted()
  return new HttpKubeClient({
    access: found,
    ...(options.userAgent === undefined ? {} : { userAgent: options.userAgent }),
  })
}

async function findAccess(options: ConnectOptions): Promise<ClusterAccess> {
  const env = options.env ?? {}
  const named = options.kubeconfig || env.KUBECONFIG || ''
  if (named !== '') return await kubeconfigAccess(named)
  const home = env.HOME
  if (home !== undefined && home !== '') {
    const path = join(home, '.kube', 'config')
    if (await exists(path)) return await kubeconfigAccess(path)
  }
  if (!(await exists(join(serviceAccountDir, 'token')))) {
    throw new KubeConfigError(
      'no way to an API server: no kubeconfig is named, there is no ~/.kube/config, and this is no pod; set KUBECONFIG or --kubeconfig',
    )
  }
  return await serviceAccountAccess({
    host: env.KUBERNETES_SERVICE_HOST,
    port: env.KUBERNETES_SERVICE_PORT,
  })
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch {
    return false
  }
}
