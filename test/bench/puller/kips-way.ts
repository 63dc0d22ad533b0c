import type { DaemonSet } from '../../../src/kube/types.ts'

/** Whose figures stand beside ours. */
export const KIPS_WAY = "KIP's way"

export interface KipsWayOptions {
  readonly name: string
  readonly namespace: string
  readonly images: readonly string[]
  /** Image with a shell, `cp`, and the sleep program. */
  readonly sleepImage: string
  readonly nodeSelector: Readonly<Record<string, string>>
  /** Of every container. */
  readonly requests: Readonly<Record<string, string>>
}

/** What the chart of kubernetes-image-puller asks for each image. */
export const chartRequests = { cpu: '.05', memory: '10Mi' }

/**
 * The DaemonSet that kubernetes-image-puller makes: a container for each image, all asleep for 720 hours through a program
 * that the first init container copies.
 */
export function kipsDaemonSet(options: KipsWayOptions): DaemonSet {
  const { name, namespace, images, sleepImage, nodeSelector, requests } = options
  const labels = { test: 'daemonset-test', 'app.kubernetes.io/name': 'image-puller' }
  const resources = { requests, limits: { cpu: '.2', memory: '20Mi' } }
  const securityContext = {
    allowPrivilegeEscalation: false,
    capabilities: { drop: ['ALL'] },
    readOnlyRootFilesystem: true,
  }
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name, namespace },
    spec: {
      selector: { matchLabels: labels },
      template: {
        metadata: { name: 'test-po', labels },
        spec: {
          terminationGracePeriodSeconds: 1,
          nodeSelector,
          securityContext: { fsGroup: 65532, seccompProfile: { type: 'RuntimeDefault' } },
          initContainers: [
            {
              name: 'copy-sleep',
              image: sleepImage,
              imagePullPolicy: 'IfNotPresent',
              command: ['/bin/sh', '-c', 'cp /bin/sleep /kip/sleep'],
              resources,
              securityContext: { ...securityContext, runAsNonRoot: true, runAsUser: 65532 },
              volumeMounts: [{ name: 'kip', mountPath: '/kip' }],
            },
          ],
          containers: images.map((image, index) => ({
            name: `image-${index}`,
            image,
            // It says Always; a registry that is asked each time is not what is measured.
            imagePullPolicy: 'IfNotPresent',
            command: ['/kip/sleep'],
            args: ['720h'],
            resources,
            securityContext,
            volumeMounts: [{ name: 'kip', mountPath: '/kip' }],
          })),
          volumes: [{ name: 'kip', emptyDir: { sizeLimit: '50Mi' } }],
        },
      },
    },
  }
}
