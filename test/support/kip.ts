import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildKipImages } from '../../docker/build.ts'
import type { Cluster, Report } from '../cluster/index.ts'

/** kip's own namespace, as the manifests have it. */
export const kipNamespace = 'k8s-image-puller'

export interface DeployOptions {
  /** Keys of kip's ConfigMap: `IMAGES`, `KIP_…`. */
  readonly config: Readonly<Record<string, string>>
  readonly report: Report
}

/**
 * Deploys kip as its users do: its image, pulled by the nodes, and `kubectl apply -k` of the manifests with an overlay that
 * names image, settings and the registries' CA. Returns when both replicas are ready.
 */
export async function deployKip(cluster: Cluster, options: DeployOptions): Promise<void> {
  const { report } = options
  // In the backup, so that a test may do to the origin what it likes.
  const images = await buildKipImages({ registry: cluster.registries.backup, report })
  await withOverlay(cluster, images, options.config, (folder) =>
    cluster.kubectl(['apply', '--server-side', '--force-conflicts', '-k', folder]),
  )
  await kipRolledOut(cluster)
}

/** Waits until as many replicas are ready as there are to be. */
export async function kipRolledOut(cluster: Cluster): Promise<void> {
  const deployment = ['-n', kipNamespace, 'deployment/kubernetes-image-puller']
  await cluster.kubectl(['rollout', 'status', ...deployment, '--timeout=120s'], {
    timeoutMs: 130_000,
  })
}

/** Removes all that {@link deployKip} made, and the objects that kip made by itself. */
export async function removeKip(cluster: Cluster): Promise<void> {
  await cluster.kubectl(['delete', 'mutatingwebhookconfiguration', 'kip', '--ignore-not-found'])
  const base = fileURLToPath(new URL('../../deploy/manifests', import.meta.url))
  await cluster.kubectl(
    ['delete', '-k', base, '--ignore-not-found', '--wait=true', '--timeout=90s'],
    {
      timeoutMs: 120_000,
    },
  )
}

async function withOverlay(
  cluster: Cluster,
  images: { readonly kip: string; readonly sleep: string },
  config: Readonly<Record<string, string>>,
  work: (folder: string) => Promise<unknown>,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'kip-overlay-'))
  try {
    const manifests = fileURLToPath(new URL('../../deploy/manifests', import.meta.url))
    await cp(manifests, join(folder, 'base'), { recursive: true })
    await writeFile(join(folder, 'ca.crt'), await readFile(cluster.authorityFile))
    const [name = '', digest = ''] = images.kip.split('@')
    const data = { KIP_IMAGE: images.sleep, ...config }
    const overlay = {
      apiVersion: 'kustomize.config.k8s.io/v1beta1',
      kind: 'Kustomization',
      resources: ['base'],
      components: ['base/components/registry-ca'],
      images: [{ name: 'kip', newName: name.replace(/:[^:/]+$/, ''), digest }],
      configMapGenerator: [
        { name: 'kip-registry-ca', namespace: kipNamespace, files: ['ca.crt'] },
        {
          name: 'k8s-image-puller',
          namespace: kipNamespace,
          behavior: 'merge',
          literals: literals(data),
        },
      ],
      generatorOptions: { disableNameSuffixHash: true },
    }
    await writeFile(join(folder, 'kustomization.yaml'), JSON.stringify(overlay))
    await work(folder)
  } finally {
    await rm(folder, { recursive: true })
  }
}

function literals(data: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(data).map(([key, value]) => `${key}=${value}`)
}
