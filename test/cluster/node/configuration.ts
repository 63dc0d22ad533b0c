import { join } from 'node:path'
import type { AddressPlan, NodePlan } from '../plan.ts'

/** The image of every pod's sandbox, put into each node so that nodes need no registry for it. */
export const PAUSE_IMAGE = 'kip.test/pause:1'

/** Where containerd shows its insides (Go's `/debug/pprof`), on the node. */
export const CONTAINERD_DEBUG = '/run/containerd/debug.sock'

/** Where a node's configuration lies, below its folder. */
export const NODE_FILES = {
  hosts: 'hosts',
  containerd: 'containerd.toml',
  registries: 'certs.d',
  cni: 'cni',
  kubelet: 'kubelet.json',
  kubeletKubeconfig: 'kubelet.kubeconfig',
  proxyKubeconfig: 'kube-proxy.kubeconfig',
} as const

/**
 * containerd's configuration: CRI with overlayfs, runc, and registries by `certs.d`.
 *
 * @param folder - the node's
 * @param downloads - blobs of an image at the same time; default: containerd's
 */
export function containerdConfig(folder: string, downloads?: number): string {
  const path = (name: keyof typeof NODE_FILES): string =>
    JSON.stringify(join(folder, NODE_FILES[name]))
  const unused = ['btrfs', 'devmapper', 'zfs', 'blockfile', 'erofs']
    .map((name) => `"io.containerd.snapshotter.v1.${name}"`)
    .concat('"io.containerd.nri.v1.nri"')
  const limit = downloads === undefined ? '' : `\n  max_concurrent_downloads = ${downloads}`
  return `version = 3
disabled_plugins = [${unused.join(', ')}]
[debug]
  address = "${CONTAINERD_DEBUG}"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"${limit}
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "${PAUSE_IMAGE}"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = ${path('registries')}
[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE nothing may lower its oom_score_adj, and runc gives up where it cannot.
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = ${path('cni')}
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        SystemdCgroup = false
        BinaryName = "/usr/sbin/runc"
`
}

/** A bridge for the pods of one node; their addresses are routed, so nothing is masqueraded. */
export function cniConfig(node: NodePlan): string {
  const bridge = {
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    ipMasq: false,
    hairpinMode: true,
    ipam: {
      type: 'host-local',
      // Gone with the node: addresses of a killed node's pods are free again.
      dataDir: '/run/containerd/cni-ipam',
      ranges: [[{ subnet: node.podRange }]],
      routes: [{ dst: '0.0.0.0/0' }],
    },
  }
  return JSON.stringify({ cniVersion: '1.0.0', name: 'kip', plugins: [bridge] })
}

/** The kubelet's configuration; JSON, which is YAML too. */
export function kubeletConfig(options: {
  readonly addresses: AddressPlan
  readonly authorityFile: string
  /** Path of the node's cgroup below each hierarchy. */
  readonly cgroup: string
  /** Settings of this node alone. */
  readonly settings?: Readonly<Record<string, unknown>>
}): string {
  return JSON.stringify({
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    failCgroupV1: false,
    cgroupDriver: 'cgroupfs',
    cgroupRoot: options.cgroup,
    containerRuntimeEndpoint: 'unix:///run/containerd/containerd.sock',
    address: '0.0.0.0',
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: options.authorityFile },
    },
    authorization: { mode: 'Webhook' },
    failSwapOn: false,
    maxPods: 250,
    resolvConf: '',
    clusterDNS: [options.addresses.controlPlane],
    clusterDomain: 'cluster.local',
    nodeStatusUpdateFrequency: '5s',
    volumeStatsAggPeriod: '10s',
    evictionPressureTransitionPeriod: '5s',
    // Images here are small and registries near: the default of 5 a second is what would be measured.
    registryPullQPS: 0,
    ...options.settings,
  })
}
