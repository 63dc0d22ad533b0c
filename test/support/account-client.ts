import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import type { KubeClient } from '../../src/kube/client.ts'
import { connectCluster } from '../../src/kube/connect.ts'
import { resourcePath } from '../../src/kube/resource.ts'

/** A service account, and the way to its cluster. */
export interface AccountOptions {
  /** The administrator's. */
  readonly client: KubeClient
  /** Path of the administrator's. */
  readonly kubeconfig: string
  readonly namespace: string
  readonly name: string
}

/** A client of a service account that is there, with the rights that it has. */
export async function accountClient(options: AccountOptions): Promise<KubeClient> {
  const folder = await mkdtemp(join(tmpdir(), 'kip-account-'))
  try {
    const path = join(folder, 'kubeconfig')
    await writeFile(path, await accountKubeconfig(options), { mode: 0o600 })
    return await connectCluster({ kubeconfig: path })
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** The same, as the text of a kubeconfig. */
export async function accountKubeconfig(options: AccountOptions): Promise<string> {
  const { client, kubeconfig, namespace, name } = options
  const accounts = { group: '', version: 'v1', plural: 'serviceaccounts', namespace }
  const { status } = await client.request<{ readonly status: { readonly token: string } }>({
    method: 'POST',
    path: resourcePath(accounts, name, 'token'),
    body: { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} },
    signal: new AbortController().signal,
  })
  const config = parse(await readFile(kubeconfig, 'utf8'))
  const user = { name, user: { token: status.token } }
  const context = { name, context: { ...config.contexts[0].context, user: name } }
  return stringify({ ...config, users: [user], contexts: [context], 'current-context': name })
}
