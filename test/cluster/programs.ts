import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { cachedBuild, contentKey } from './cache.ts'
import { checkBuildPossible, runGo } from './go.ts'
import type { Report } from './progress.ts'
import { CONTAINERD_VERSION, type KubernetesVersion } from './versions.ts'

export interface BuildOptions {
  readonly report: Report
  readonly signal?: AbortSignal
}

const KUBERNETES_PARTS = [
  ...['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'],
  ...['kubelet', 'kube-proxy', 'kubectl'],
]

const STRIPPED = '-s -w -buildid='

/** Builds Kubernetes and etcd, or finds them built: a folder with one program and a link for each of its parts. */
export async function kubernetesPrograms(
  version: KubernetesVersion,
  options: BuildOptions,
): Promise<string> {
  const source = fileURLToPath(new URL('kube/', import.meta.url))
  const linkerFlags = `${STRIPPED} ${versionFlags(version)}`
  const modFile = join(source, version.modFile)
  const files = [join(source, 'main.go'), modFile, modFile.replace(/\.mod$/, '.sum')]
  const key = [process.arch, linkerFlags, ...files.map((file) => ({ file }))]
  return cachedBuild({
    ...options,
    name: `kubernetes-${version.release}`,
    key: await contentKey(key),
    step: `building Kubernetes ${version.release}`,
    expectedSeconds: 420,
    build: async (folder) => {
      await checkBuildPossible(folder, options.signal)
      const output = join(folder, 'kube')
      const args = ['build', `-modfile=${modFile}`, '-ldflags', linkerFlags, '-o', output, '.']
      await runGo({ args, cwd: source, ...(options.signal && { signal: options.signal }) })
      for (const part of KUBERNETES_PARTS) await symlink('kube', join(folder, part))
    },
  })
}

/** Builds containerd with its shim and `ctr`, or finds them built. */
export async function containerdPrograms(options: BuildOptions): Promise<string> {
  const module = 'github.com/containerd/containerd/v2'
  const version = `v${CONTAINERD_VERSION}`
  const set = `-X ${module}/version.Version=${version} -X ${module}/version.Package=${module}`
  const linkerFlags = `${STRIPPED} ${set}`
  const packages = ['containerd', 'containerd-shim-runc-v2', 'ctr'].map(
    (name) => `${module}/cmd/${name}@${version}`,
  )
  return cachedBuild({
    ...options,
    name: `containerd-${CONTAINERD_VERSION}`,
    key: await contentKey([process.arch, linkerFlags, ...packages]),
    step: `building containerd ${CONTAINERD_VERSION}`,
    expectedSeconds: 120,
    build: async (folder) => {
      await checkBuildPossible(folder, options.signal)
      const args = ['install', '-ldflags', linkerFlags, ...packages]
      const env = { GOBIN: folder }
      await runGo({ args, cwd: folder, env, ...(options.signal && { signal: options.signal }) })
    },
  })
}

/** What `kubectl version` and a node's `kubeletVersion` say; k8s.io/component-base and client-go each hold a copy. */
function versionFlags({ release }: KubernetesVersion): string {
  const [major, minor] = release.split('.')
  const values = {
    gitVersion: `v${release}`,
    gitMajor: major,
    gitMinor: minor,
    gitTreeState: 'clean',
    gitCommit: 'kip-test-cluster',
    buildDate: '1970-01-01T00:00:00Z',
  }
  return ['k8s.io/component-base/version', 'k8s.io/client-go/pkg/version']
    .flatMap((path) => Object.entries(values).map(([name, value]) => `-X ${path}.${name}=${value}`))
    .join(' ')
}
