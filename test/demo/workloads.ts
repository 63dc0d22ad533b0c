/** Namespace of the demo's workloads. */
export const namespace = 'shop'

export interface DemoWorkloads {
  readonly objects: readonly object[]
  /** Images that kip is to take care of; the first is the one that is deleted from its origin. */
  readonly expected: readonly string[]
  /** Image of the flagged namespace. */
  readonly ignored: string
}

/** Workloads that use images in as many ways, most of them without a pod that runs. */
export function workloads(host: string): DemoWorkloads {
  const image = (name: string, tag = '1') => `${host}/${name}:${tag}`
  const ignored = image('docker')
  const meta = (name: string, inNamespace = namespace) => ({ name, namespace: inNamespace })
  const pods = (app: string, containers: readonly object[]) => ({
    metadata: { labels: { app } },
    spec: { terminationGracePeriodSeconds: 0, containers },
  })
  const objects = [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } },
    {
      apiVersion: 'v1',
      kind: 'Namespace',
      metadata: { name: 'private', labels: { 'images.kip/ignore': 'true' } },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: meta('web'),
      spec: {
        replicas: 1,
        selector: { matchLabels: { app: 'web' } },
        template: pods('web', [{ name: 'nginx', image: image('nginx') }]),
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata: meta('data'),
      spec: {
        replicas: 0,
        serviceName: 'data',
        selector: { matchLabels: { app: 'data' } },
        template: pods('data', [{ name: 'redis', image: image('redis', '7') }]),
      },
    },
    {
      apiVersion: 'batch/v1',
      kind: 'CronJob',
      metadata: meta('yearly'),
      spec: {
        schedule: '0 3 1 1 *',
        jobTemplate: {
          spec: {
            template: {
              spec: {
                restartPolicy: 'Never',
                containers: [{ name: 'scratch', image: image('scratch'), args: ['0s'] }],
              },
            },
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: meta('prepared'),
      spec: {
        terminationGracePeriodSeconds: 0,
        initContainers: [{ name: 'prepare', image: image('zstd'), command: ['true'] }],
        containers: [{ name: 'main', image: image('multi-platform'), command: ['sleep', '3600'] }],
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: meta('left-alone', 'private'),
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [{ name: 'main', image: ignored, command: ['sleep', '3600'] }],
      },
    },
  ]
  const expected = [
    ...[image('nginx'), image('redis', '7'), image('scratch')],
    ...[image('zstd'), image('multi-platform')],
  ]
  return { objects, expected, ignored }
}

/** A pod of the deleted image, on the node that has never seen it. */
export function survivor(image: string, node: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'survivor', namespace },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'main', image }],
    },
  }
}
