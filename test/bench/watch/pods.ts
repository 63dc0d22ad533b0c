import { podSpec } from '../webhook/pod-review.ts'

/** Workloads that the pods belong to; each has images of its own. */
export const WORKLOADS = 500
const NAMESPACES = 50
const NODES = 1_000

/** Namespaces of the pods, which have to be there before them. */
export function namespaceNames(): readonly string[] {
  return Array.from({ length: NAMESPACES }, (_, number) => `team-${two(number)}`)
}

/**
 * A pod of 7 to 8 KB, as the API server gives it in JSON when it runs: on a node, with pull secret, tolerations and a volume
 * whose name no other pod has.
 *
 * What the server notes of each field's manager is longer than the field: with all that pods of a review have they would be larger.
 *
 * @param number of the pod; it belongs to the workload of the rest by {@link WORKLOADS}
 */
export function benchPod(number: number) {
  const workload = number % WORKLOADS
  const name = `storefront-${String(workload).padStart(3, '0')}-7d9c6b5f4d-${suffixOf(number)}`
  const token = `kube-api-access-${suffixOf(number)}`
  const image = (part: string) =>
    `registry.example.com/shop/${part}-${workload}:2026.11.${workload % 20}`
  const { initContainers: _init, ...spec } = podSpec([image('web'), image('log'), image('init')])
  const renamed = <Named extends { readonly name: string }>(one: Named): Named =>
    one.name.startsWith('kube-api-access-') ? { ...one, name: token } : one
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: `team-${two(workload % NAMESPACES)}`,
      labels: {
        'app.kubernetes.io/name': 'storefront',
        'app.kubernetes.io/instance': 'storefront-production',
        'app.kubernetes.io/part-of': 'shop',
        'pod-template-hash': '7d9c6b5f4d',
      },
      annotations: {
        'prometheus.io/scrape': 'true',
        'prometheus.io/port': '9090',
        'checksum/config': 'f'.repeat(64),
      },
    },
    spec: {
      ...spec,
      containers: spec.containers.map(({ env: _env, ...one }, index) => ({
        ...(index === 0 ? one : withoutService(one)),
        volumeMounts: one.volumeMounts.filter(isKept).map(renamed),
      })),
      volumes: spec.volumes.filter(isKept).map(renamed),
      nodeName: `node-${String(number % NODES).padStart(4, '0')}`,
      imagePullSecrets: [{ name: 'registry-example-com' }],
      serviceAccountName: 'default',
    },
  }
}

/** The status of a pod that runs, as a kubelet writes it. */
export function runningStatus(pod: ReturnType<typeof benchPod>) {
  const at = '2026-11-20T10:11:12Z'
  const condition = (type: string) => ({ type, status: 'True', lastTransitionTime: at })
  const statusOf = ({ name, image }: { name: string; image: string }) => ({
    name,
    image,
    imageID: `${image.replace(/:[^:]*$/, '')}@sha256:${'0123456789abcdef'.repeat(4)}`,
    containerID: `containerd://${'fedcba9876543210'.repeat(4)}`,
    ready: true,
    started: true,
    restartCount: 0,
    state: { running: { startedAt: at } },
  })
  return {
    phase: 'Running',
    conditions: ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled'].map(condition),
    containerStatuses: pod.spec.containers.map(statusOf),
    hostIP: '10.0.0.1',
    podIP: '10.1.2.3',
    startTime: at,
  }
}

/** A container beside the one that serves. */
function withoutService<Container extends { readonly name: string; readonly image: string }>(
  container: Container & {
    readonly args: unknown
    readonly ports: unknown
    readonly readinessProbe: unknown
  },
) {
  const { args: _args, ports: _ports, readinessProbe: _probe, ...rest } = container
  return rest
}

/** One volume less. */
function isKept({ name }: { readonly name: string }): boolean {
  return name !== 'cache'
}

function two(number: number): string {
  return String(number).padStart(2, '0')
}

/** Five letters and digits, as controllers append them. */
function suffixOf(number: number): string {
  return number.toString(36).padStart(5, 'x')
}
