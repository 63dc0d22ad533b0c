import { existsSync } from 'node:fs'
import { ClusterError } from './errors.ts'

/** The least Go that builds the Kubernetes below; `GOTOOLCHAIN=local` keeps Go from fetching another by itself. */
export const MINIMUM_GO = '1.26'

/** containerd of the nodes; has no `replace` in its go.mod, so `go install package@version` builds it. */
export const CONTAINERD_VERSION = '2.2.9'

/** Kubernetes that the clusters run unless `KIP_KUBE_VERSION` names another minor. */
export const DEFAULT_KUBERNETES_MINOR = '1.35'

/**
 * The patch release of each minor that can be built.
 *
 * The default minor's go.mod and go.sum lie beside `kube/main.go`, those of another minor in `kube/<minor>/`. To add one:
 * copy the default's go.mod there, replace `v1.35.4` and `v0.35.4` by the new release, take the `go` and `godebug` lines
 * from the go.mod of k8s.io/kubernetes, run `go mod tidy -modfile=<minor>/go.mod` in `kube/`, commit both files, and add a line here.
 */
const KUBERNETES_RELEASES: Readonly<Record<string, string>> = {
  '1.34': '1.34.4',
  '1.35': '1.35.4',
  '1.36': '1.36.3',
}

export interface KubernetesVersion {
  /** `1.35` */
  readonly minor: string
  /** `1.35.4` */
  readonly release: string
  /** Path of go.mod, relative to `kube/`. */
  readonly modFile: string
}

/**
 * Finds the Kubernetes to build.
 *
 * @param wanted - a minor (`1.35`) or a release (`1.35.4`), with or without `v`; default: {@link DEFAULT_KUBERNETES_MINOR}
 * @throws ClusterError (KIP_CLUSTER_PREREQUISITE) when that version is not pinned
 */
export function kubernetesVersion(wanted = ''): KubernetesVersion {
  const text = wanted.replace(/^v/, '') || DEFAULT_KUBERNETES_MINOR
  const minor = text.split('.').slice(0, 2).join('.')
  const release = KUBERNETES_RELEASES[minor]
  const modFile = minor === DEFAULT_KUBERNETES_MINOR ? 'go.mod' : `${minor}/go.mod`
  const folder = new URL('kube/', import.meta.url)
  if (!release || (text !== minor && text !== release) || !existsSync(new URL(modFile, folder))) {
    const known = Object.entries(KUBERNETES_RELEASES).map(([key, value]) => `${key} (${value})`)
    throw new ClusterError(
      'KIP_CLUSTER_PREREQUISITE',
      `KIP_KUBE_VERSION: Kubernetes ${text} is not pinned; there is ${known.join(', ')}. ` +
        'test/cluster/versions.ts says how to add another.',
    )
  }
  return { minor, release, modFile }
}
