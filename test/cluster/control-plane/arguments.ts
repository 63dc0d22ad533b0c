import { join } from 'node:path'
import type { ClusterState } from '../state.ts'

/** Files of the control plane, all below the cluster's folder. */
export interface ControlPlaneFiles {
  readonly pki: string
  readonly etcd: string
  readonly adminKubeconfig: string
  readonly controllerManagerKubeconfig: string
  readonly schedulerKubeconfig: string
  readonly hosts: string
}

export function controlPlaneFiles(folder: string): ControlPlaneFiles {
  return {
    pki: join(folder, 'pki'),
    etcd: join(folder, 'etcd'),
    adminKubeconfig: join(folder, 'admin.kubeconfig'),
    controllerManagerKubeconfig: join(folder, 'controller-manager.kubeconfig'),
    schedulerKubeconfig: join(folder, 'scheduler.kubeconfig'),
    hosts: join(folder, 'hosts'),
  }
}

type Planned = Pick<
  ClusterState,
  'addresses' | 'ports' | 'apiServerArguments' | 'controllerManagerArguments' | 'etcdArguments'
>

/** etcd without waiting for the disk: a test cluster does not outlive the machine. */
export function etcdArguments(
  { ports, etcdArguments = [] }: Planned,
  files: ControlPlaneFiles,
): readonly string[] {
  const client = `http://127.0.0.1:${ports.etcd}`
  const peer = `http://127.0.0.1:${ports.etcdPeer}`
  return [
    '--name=kip',
    `--data-dir=${files.etcd}`,
    '--unsafe-no-fsync',
    '--quota-backend-bytes=6000000000',
    `--listen-client-urls=${client}`,
    `--advertise-client-urls=${client}`,
    `--listen-peer-urls=${peer}`,
    `--initial-advertise-peer-urls=${peer}`,
    `--initial-cluster=kip=${peer}`,
    '--log-level=warn',
    ...etcdArguments,
  ]
}

export function apiServerArguments(planned: Planned, files: ControlPlaneFiles): readonly string[] {
  const { addresses, ports } = planned
  const pki = (name: string): string => join(files.pki, name)
  const place =
    addresses.level === 'nodes'
      ? ['--bind-address=0.0.0.0']
      : // The Service of the API server cannot point at a loopback address, and without pods nobody follows it.
        ['--bind-address=127.0.0.1', '--endpoint-reconciler-type=none']
  return [
    ...place,
    `--advertise-address=${addresses.controlPlane}`,
    `--secure-port=${ports.api}`,
    `--service-cluster-ip-range=${addresses.services}`,
    `--etcd-servers=http://127.0.0.1:${ports.etcd}`,
    `--client-ca-file=${pki('ca.crt')}`,
    `--tls-cert-file=${pki('apiserver.crt')}`,
    `--tls-private-key-file=${pki('apiserver.key')}`,
    `--kubelet-client-certificate=${pki('kubelet-client.crt')}`,
    `--kubelet-client-key=${pki('kubelet-client.key')}`,
    '--kubelet-preferred-address-types=InternalIP',
    '--service-account-issuer=https://kubernetes.default.svc',
    `--service-account-key-file=${pki('service-account.pub')}`,
    `--service-account-signing-key-file=${pki('service-account.key')}`,
    '--authorization-mode=Node,RBAC',
    '--enable-admission-plugins=NodeRestriction',
    // Webhooks behind a Service are dialled by the addresses of its endpoints: there is no kube-proxy here.
    '--enable-aggregator-routing=true',
    '--allow-privileged=true',
    ...(planned.apiServerArguments ?? []),
  ]
}

/** The client's own limits (20 requests a second) are for shared clusters; here they are half of the start. */
const FAST_CLIENT = ['--kube-api-qps=1000', '--kube-api-burst=2000', '--leader-elect=false']

export function controllerManagerArguments(
  { controllerManagerArguments = [] }: Planned,
  files: ControlPlaneFiles,
): readonly string[] {
  const kubeconfig = files.controllerManagerKubeconfig
  const authority = join(files.pki, 'ca.crt')
  return [
    `--kubeconfig=${kubeconfig}`,
    '--secure-port=0',
    '--use-service-account-credentials',
    `--service-account-private-key-file=${join(files.pki, 'service-account.key')}`,
    `--root-ca-file=${authority}`,
    `--cluster-signing-cert-file=${authority}`,
    `--cluster-signing-key-file=${join(files.pki, 'ca.key')}`,
    ...FAST_CLIENT,
    ...controllerManagerArguments,
  ]
}

export function schedulerArguments(files: ControlPlaneFiles): readonly string[] {
  return [`--kubeconfig=${files.schedulerKubeconfig}`, '--secure-port=0', ...FAST_CLIENT]
}
