import {
  dnsLabel,
  dnsSubdomain,
  imageReference,
  labelValue,
  qualifiedName,
  quantity,
} from '../patterns.ts'
import type { SectionSchema } from '../schema-types.ts'
import type { PullerSettings } from '../settings.ts'
import { globs, namespaceName, objectName } from './forms.ts'

const amount = {
  type: 'string',
  default: '',
  pattern: quantity,
  'x-expects': 'a Kubernetes quantity, such as 10Mi or 50m',
} as const

export const pullerSchema: SectionSchema<PullerSettings> = {
  type: 'object',
  description: 'Having every node hold the images.',
  additionalProperties: false,
  properties: {
    enabled: {
      type: 'boolean',
      default: true,
      description: 'Make the DaemonSets that hold the images.',
    },
    mode: {
      type: 'string',
      enum: ['own', 'external'],
      default: 'own',
      'x-env': ['PULLER'],
      description:
        '`external`: makes no DaemonSets, and has an existing kubernetes-image-puller hold the images: keeps `IMAGES` of its ConfigMap, and starts it anew for new ones, at most every ten minutes.',
    },
    externalNamespace: {
      type: 'string',
      pattern: `^$|${dnsLabel}`,
      'x-expects': namespaceName['x-expects'],
      default: '',
      description: "Namespace of that one. Empty: kip's own.",
    },
    externalConfigMap: {
      ...objectName,
      default: 'k8s-image-puller',
      description: 'Its ConfigMap.',
    },
    externalDeployment: {
      ...objectName,
      default: 'kubernetes-image-puller',
      description: 'Its Deployment.',
    },
    images: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['name', 'image'],
        properties: {
          name: { type: 'string', minLength: 1 },
          image: { type: 'string', pattern: imageReference },
        },
      },
      default: [],
      'x-env': ['IMAGES'],
      description:
        'Images that are held besides those found: `name=image;name=image;…`. A malformed item is reported and skipped.',
    },
    strategy: {
      type: 'string',
      enum: ['auto', 'volume', 'init', 'sleep'],
      default: 'auto',
      description:
        "`auto`: `volume` where the API server and every node can, else `init`; `volume`: the same, and a warning where it is `init`: each image is a volume of one small container, and no process runs from it; `init`: each image is an init container that ends at once, and one small container stays; `sleep`: KIP's way, a sleeping container for each image.",
    },
    diskPercent: {
      type: 'integer',
      minimum: 1,
      maximum: 100,
      default: 50,
      description:
        "Share of a node's disk that the images may take together, by the smallest node; beyond it those are left out that are worth least. 100: no bound. 50: kubelets collect images from 85 on, and the nodes' other images and files need room.",
    },
    startupTaintSeconds: {
      type: 'integer',
      minimum: 0,
      maximum: 86_400,
      default: 0,
      description:
        'Nodes that are registered with the taint `images.kip/not-ready` are released of it when they hold the images, and at the latest when they are so old. 0: kip touches no node. See [the puller](puller.md).',
    },
    privateImages: {
      type: 'string',
      enum: ['off', 'verified', 'all'],
      default: 'off',
      description:
        'Images that need credentials: `verified`: are held with the pull secrets of the pods that use them, where every kubelet checks whether a pod may use what another pulled (1.35 or later); `all`: on older nodes too, where then any pod of the node may use them. Needs the component `private-images`: kip may read all Secrets then. See [the puller](puller.md#private-images).',
    },
    priorityClass: {
      type: 'string',
      pattern: `^$|${dnsSubdomain}`,
      'x-expects': 'the name of a PriorityClass',
      default: '',
      description:
        "PriorityClass of the pods that hold the images, such as `kip-puller` of the component `puller-priority`. Empty: the cluster's default.",
    },
    where: {
      type: 'string',
      enum: ['everywhere', 'used'],
      default: 'everywhere',
      description:
        'Of the nodes that `puller.nodeSelector` and `puller.affinity` admit: `everywhere`: all whose taints `puller.tolerations` admits hold an image; `used`: those on which pods that use it may run, by their own selectors, affinity and tolerations; what nobody uses is held everywhere. See [the puller](puller.md#where).',
    },
    rules: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['images'],
        properties: {
          images: { type: 'array', minItems: 1, items: globs.items },
          where: { type: 'string', enum: ['everywhere', 'used'] },
          nodeSelector: {
            type: 'object',
            propertyNames: { pattern: qualifiedName },
            additionalProperties: { type: 'string', pattern: labelValue },
          },
        },
      },
      default: [],
      'x-expects': 'a pattern of full image names, or a label',
      description:
        'Exceptions to `where`, as `{images, where, nodeSelector}`: the first counts of which a pattern matches the full name of the image. `where` is `everywhere` when left out; the nodes must have the labels of `nodeSelector` besides.',
    },
    podsPerNode: {
      type: 'integer',
      minimum: 2,
      maximum: 100,
      default: 3,
      description:
        'Puller pods that a node may have, each of one shard; the second pod of a shard that is being rolled out is not counted. What finds no room waits, the least used first. 3: with image volumes that is 500 images held and 50 on their way.',
    },
    nodesAtOnce: {
      type: 'integer',
      minimum: 1,
      maximum: 5000,
      default: 100,
      description:
        'Nodes that pull at the same time, for the sake of the registry, when a shard of what is new, or of tags that moved, is changed: the next one begins when one is done. Nodes that have no pod of the shard yet, as when it is made, begin as the DaemonSet controller makes pods for them (its `--kube-api-qps`, 20 a second by default).',
    },
    shards: {
      type: 'integer',
      minimum: 1,
      maximum: 99,
      default: 1,
      description:
        'DaemonSets over which the images that nodes hold for good are spread, five images each at least, and no more of them than `puller.podsPerNode` leaves; without discovery, on IMAGES alone, there is one. More let a node whose kubelet pulls in parallel pull several at once. 1: a kubelet that pulls one image after the other (its default) makes a new pod wait for one pull of each.',
    },
    daemonSetName: {
      ...objectName,
      default: 'kubernetes-image-puller',
      'x-env': ['DAEMONSET_NAME'],
      description: 'Name of the DaemonSet, and what the names of further shards start with.',
    },
    daemonSetAnnotations: {
      type: 'object',
      propertyNames: { pattern: qualifiedName },
      additionalProperties: { type: 'string' },
      default: {},
      'x-env': ['DAEMONSET_ANNOTATIONS'],
      'x-expects': 'an annotation name: [prefix/]name',
      description: 'Annotations of the DaemonSets.',
    },
    deploymentName: {
      type: 'string',
      pattern: `^$|${dnsSubdomain}`,
      'x-expects': objectName['x-expects'],
      default: '',
      'x-env': ['DEPLOYMENT_NAME'],
      description:
        'Deployment that owns the DaemonSets, so that they go when it goes. Empty: no owner.',
    },
    nodeSelector: {
      type: 'object',
      propertyNames: { pattern: qualifiedName },
      additionalProperties: { type: 'string', pattern: labelValue },
      default: {},
      'x-env': ['NODE_SELECTOR'],
      'x-expects': 'a label',
      description: 'Only nodes with these labels hold the images.',
    },
    affinity: {
      type: 'object',
      additionalProperties: false,
      properties: {
        nodeAffinity: { type: 'object' },
        podAffinity: { type: 'object' },
        podAntiAffinity: { type: 'object' },
      },
      default: {},
      'x-env': ['AFFINITY'],
      description: 'Affinity of the pods that hold the images (core/v1 Affinity).',
    },
    tolerations: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        properties: {
          key: { type: 'string' },
          operator: { type: 'string', enum: ['Exists', 'Equal', 'Lt', 'Gt'] },
          value: { type: 'string' },
          effect: { type: 'string', enum: ['', 'NoSchedule', 'PreferNoSchedule', 'NoExecute'] },
          tolerationSeconds: { type: 'integer' },
        },
      },
      default: [],
      'x-env': ['TOLERATIONS'],
      description: 'Tolerations of the pods that hold the images (core/v1 Toleration).',
    },
    imagePullSecrets: {
      type: 'array',
      items: { type: 'string', pattern: dnsSubdomain },
      default: [],
      'x-env': ['IMAGE_PULL_SECRETS'],
      'x-expects': 'the name of a Secret',
      description:
        "Pull secrets of the pods that hold the images, by name, in kip's namespace: `secret1;secret2`. With any, images that are merely in use wait until kip got them without (see puller.md, private images).",
    },
    sleepImage: {
      type: 'string',
      pattern: imageReference,
      'x-expects': 'an image reference',
      default: 'quay.io/eclipse/kubernetes-image-puller:next',
      'x-env': ['KIP_IMAGE'],
      description: "Image that the `sleep` program is taken from: kip's own, or KIP's.",
    },
    openShift: {
      type: 'string',
      enum: ['auto', 'true', 'false'],
      default: 'auto',
      description:
        'Leave it to the cluster which user pods run as, as OpenShift wants it. `auto`: where its API group `security.openshift.io` is.',
    },
    cacheOriginals: {
      type: 'boolean',
      default: true,
      description:
        'Hold a rewritten image under its original name too, best effort: same bytes, and a pod that was admitted while the webhook was away still finds it.',
    },
    intervalHours: {
      type: 'number',
      exclusiveMinimum: 0,
      maximum: 8760,
      default: 1,
      'x-env': ['CACHING_INTERVAL_HOURS'],
      description: 'Hours between refreshes of images whose tags can move.',
    },
    memoryRequest: {
      ...amount,
      'x-env': ['CACHING_MEMORY_REQUEST'],
      description:
        'Memory request of what holds the images: one container a pod or, under `sleep`, one an image. Empty: what the strategy needs, up to the limit.',
    },
    memoryLimit: {
      ...amount,
      'x-env': ['CACHING_MEMORY_LIMIT'],
      description:
        'Memory limit of what holds the images: one container a pod or, under `sleep`, one an image. Empty: what the strategy needs, or the request if that is more.',
    },
    cpuRequest: {
      ...amount,
      'x-env': ['CACHING_CPU_REQUEST'],
      description:
        'CPU request of what holds the images: one container a pod or, under `sleep`, one an image. Empty: what the strategy needs, up to the limit.',
    },
    cpuLimit: {
      ...amount,
      'x-env': ['CACHING_CPU_LIMIT'],
      description:
        'CPU limit of what holds the images: one container a pod or, under `sleep`, one an image. Empty: what the strategy needs, or the request if that is more.',
    },
  },
}
