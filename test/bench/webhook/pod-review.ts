import type { Pod } from '../../../src/kube/types.ts'
import { digestOf, reviewOf } from '../../support/pods.ts'

/** What both servers are given: where the backup is, and the digest of each copy by normalised reference. */
export interface Images {
  readonly registry: string
  readonly digests: Readonly<Record<string, string>>
}

/** The images of the pod, which are mirrored: of the containers `web` and `log`, and of the init container. */
const rewritten = ['docker.io/library/nginx:1.27', 'quay.io/prometheus/busybox:glibc'] as const
const viaPort = 'registry.example.com:5000/team/settings-loader:2026.11'
const asWritten = ['nginx:1.27', rewritten[1], viaPort] as const

/** So many images, those of {@link podReview} among them. */
export function imagesOfSize(registry: string, count: number): Images {
  const others = Array.from(
    { length: Math.max(0, count - rewritten.length - 1) },
    (_, number) => `registry.example.com/team-${number % 100}/service-${number}:1.${number % 30}.0`,
  )
  const letters = '0123456789abcdef'
  const entries = [...rewritten, viaPort, ...others].map(
    (reference, index) => [reference, digestOf(letters.charAt(index % 16))] as const,
  )
  return { registry, digests: Object.fromEntries(entries) }
}

/**
 * A review as an API server posts it: a Deployment's pod of 7 KB, with three images that are to be rewritten.
 *
 * @param images - default: those of {@link imagesOfSize}
 */
export function podReview(images: readonly [string, string, string] = asWritten): string {
  const metadata = {
    generateName: 'storefront-7d9c6b5f4d-',
    namespace: 'shop',
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
      'kubectl.kubernetes.io/restartedAt': '2026-11-20T10:11:12Z',
    },
    ownerReferences: [
      {
        apiVersion: 'apps/v1',
        kind: 'ReplicaSet',
        name: 'storefront-7d9c6b5f4d',
        uid: '0d9e1d0e-5a0f-4d6f-9b67-0a4d9f1f3a55',
        controller: true,
        blockOwnerDeletion: true,
      },
    ],
    managedFields: [
      {
        manager: 'kube-controller-manager',
        operation: 'Update',
        apiVersion: 'v1',
        time: '2026-11-20T10:11:13Z',
        fieldsType: 'FieldsV1',
        fieldsV1: managedFields(),
      },
    ],
  }
  const spec = podSpec(images)
  const pod = { apiVersion: 'v1', kind: 'Pod', metadata, spec, status: {} }
  return JSON.stringify(reviewOf(pod as unknown as Pod))
}

/** Of the same pod, for whoever creates it. */
export function podSpec([web, log, settings]: readonly [string, string, string]) {
  return {
    initContainers: [container('settings', settings, 5)],
    containers: [container('web', web, 13), container('log', log, 10)].map((one) => ({
      ...one,
      readinessProbe,
    })),
    volumes: [
      { name: 'config', configMap: { name: 'storefront', defaultMode: 420 } },
      { name: 'cache', emptyDir: { sizeLimit: '256Mi' } },
      {
        name: 'kube-api-access-x7k2p',
        projected: {
          defaultMode: 420,
          sources: [
            { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
            {
              configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] },
            },
          ],
        },
      },
    ],
    restartPolicy: 'Always',
    terminationGracePeriodSeconds: 30,
    dnsPolicy: 'ClusterFirst',
    serviceAccountName: 'storefront',
    securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
    schedulerName: 'default-scheduler',
    tolerations: ['not-ready', 'unreachable'].map((condition) => ({
      key: `node.kubernetes.io/${condition}`,
      operator: 'Exists',
      effect: 'NoExecute',
      tolerationSeconds: 300,
    })),
    priority: 0,
    enableServiceLinks: true,
    preemptionPolicy: 'PreemptLowerPriority',
  }
}

const readinessProbe = {
  httpGet: { path: '/readyz', port: 8080, scheme: 'HTTP' },
  timeoutSeconds: 1,
  periodSeconds: 10,
  successThreshold: 1,
  failureThreshold: 3,
}

function container(name: string, image: string, variables: number) {
  return {
    name,
    image,
    args: ['--config=/etc/storefront/config.yaml', `--component=${name}`],
    ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
    env: Array.from({ length: variables }, (_, index) => ({
      name: `SHOP_SETTING_${index}`,
      value: `value of setting ${index} for ${name}`,
    })),
    resources: {
      limits: { cpu: '500m', memory: '256Mi' },
      requests: { cpu: '100m', memory: '128Mi' },
    },
    volumeMounts: [
      { name: 'config', mountPath: '/etc/storefront', readOnly: true },
      { name: 'cache', mountPath: '/var/cache/storefront' },
      {
        name: 'kube-api-access-x7k2p',
        readOnly: true,
        mountPath: '/var/run/secrets/kubernetes.io/serviceaccount',
      },
    ],
    terminationMessagePath: '/dev/termination-log',
    terminationMessagePolicy: 'File',
    imagePullPolicy: 'IfNotPresent',
    securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } },
  }
}

function managedFields() {
  const set = (...keys: readonly string[]) => Object.fromEntries(keys.map((key) => [key, {}]))
  return {
    'f:metadata': {
      'f:generateName': {},
      'f:labels': { '.': {}, ...set('f:app.kubernetes.io/name', 'f:pod-template-hash') },
      'f:ownerReferences': { '.': {}, 'k:{"uid":"0d9e1d0e-5a0f-4d6f-9b67-0a4d9f1f3a55"}': {} },
    },
    'f:spec': set('f:dnsPolicy', 'f:enableServiceLinks', 'f:restartPolicy', 'f:schedulerName'),
  }
}
