import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseAllDocuments } from 'yaml'
import { applyObject, getObject } from '../../src/kube/apply.ts'
import type { KubeClient } from '../../src/kube/client.ts'
import { connectCluster } from '../../src/kube/connect.ts'
import type { KubeObject } from '../../src/kube/types.ts'
import { accountKubeconfig } from './account-client.ts'

export interface Rule {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
}

export interface RoleOptions {
  readonly client: KubeClient
  readonly kubeconfig: string
  readonly namespace: string
  readonly manifest?: string
  readonly rules?: readonly Rule[]
  /** Manifests whose ClusterRole is granted too; what is made for it goes with the namespace, which owns it. */
  readonly clusterWide?: readonly string[]
}

/**
 * A client of a service account that may do what the Role of one of `deploy/manifests` allows in a namespace, or what
 * `rules` say, and nothing else.
 *
 * @param options.kubeconfig the administrator's
 * @param options.manifest file name of the manifest
 */
export async function roleClient(options: RoleOptions): Promise<KubeClient> {
  const folder = await mkdtemp(join(tmpdir(), 'kip-role-'))
  try {
    const path = join(folder, 'kubeconfig')
    await writeFile(path, await roleKubeconfig(options), { mode: 0o600 })
    return await connectCluster({ kubeconfig: path })
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** The same, as the text of a kubeconfig. */
export async function roleKubeconfig(options: RoleOptions): Promise<string> {
  const { client, namespace, manifest = '' } = options
  const { signal } = new AbortController()
  const rules = options.rules ?? (await rulesOf(manifest, 'Role'))
  const name = 'under-test'
  const rbac = { group: 'rbac.authorization.k8s.io', version: 'v1', namespace }
  const apiVersion = 'rbac.authorization.k8s.io/v1'
  const apply = { fieldManager: 'kip-test', force: true, signal }
  const accounts = { group: '', version: 'v1', plural: 'serviceaccounts', namespace }
  await applyObject(
    client,
    accounts,
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name } },
    apply,
  )
  await applyObject(
    client,
    { ...rbac, plural: 'roles' },
    { apiVersion, kind: 'Role', metadata: { name }, rules } as KubeObject,
    apply,
  )
  await applyObject(
    client,
    { ...rbac, plural: 'rolebindings' },
    {
      apiVersion,
      kind: 'RoleBinding',
      metadata: { name },
      roleRef: { apiGroup: rbac.group, kind: 'Role', name },
      subjects: [{ kind: 'ServiceAccount', name, namespace }],
    } as KubeObject,
    apply,
  )
  if (options.clusterWide !== undefined) await allowClusterWide(options, name)
  return await accountKubeconfig({ client, kubeconfig: options.kubeconfig, namespace, name })
}

async function allowClusterWide(
  { client, namespace, clusterWide = [] }: RoleOptions,
  account: string,
): Promise<void> {
  const { signal } = new AbortController()
  const apply = { fieldManager: 'kip-test', force: true, signal }
  const rbac = { group: 'rbac.authorization.k8s.io', version: 'v1' }
  const apiVersion = 'rbac.authorization.k8s.io/v1'
  const home = await getObject<KubeObject>(
    client,
    { group: '', version: 'v1', plural: 'namespaces' },
    namespace,
    { signal },
  )
  const owner = { apiVersion: 'v1', kind: 'Namespace', name: namespace, uid: home?.metadata?.uid }
  const metadata = { name: `under-test-${namespace}`, ownerReferences: [owner] }
  const rules = (
    await Promise.all(clusterWide.map((manifest) => rulesOf(manifest, 'ClusterRole')))
  ).flat()
  const role = { apiVersion, kind: 'ClusterRole', metadata, rules } as KubeObject
  await applyObject(client, { ...rbac, plural: 'clusterroles' }, role, apply)
  const binding = {
    apiVersion,
    kind: 'ClusterRoleBinding',
    metadata,
    roleRef: { apiGroup: rbac.group, kind: 'ClusterRole', name: metadata.name },
    subjects: [{ kind: 'ServiceAccount', name: account, namespace }],
  } as KubeObject
  await applyObject(client, { ...rbac, plural: 'clusterrolebindings' }, binding, apply)
}

async function rulesOf(manifest: string, wanted: string): Promise<readonly Rule[]> {
  const file = new URL(`../../deploy/manifests/${manifest}`, import.meta.url)
  const role = parseAllDocuments(await readFile(file, 'utf8'))
    .map((document) => document.toJS() as KubeObject & { readonly rules?: readonly Rule[] })
    .find(({ kind }) => kind === wanted)
  if (role === undefined) throw new Error(`${manifest} has no ${wanted}`)
  return role.rules ?? []
}
