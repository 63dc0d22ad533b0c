import { dnsLabel, dnsSubdomain, labelValue, qualifiedName } from '../patterns.ts'
import type { SectionSchema } from '../schema-types.ts'
import type { DiscoverySettings } from '../settings.ts'
import { globs, namespaceName } from './forms.ts'

export const discoverySchema: SectionSchema<DiscoverySettings> = {
  type: 'object',
  description: 'Finding the images in use.',
  additionalProperties: false,
  properties: {
    enabled: {
      type: 'string',
      enum: ['auto', 'true', 'false'],
      default: 'auto',
      description:
        '`auto`: on where kip may list pods and the CachedImage CRD is there; else the puller runs alone, on IMAGES.',
    },
    ignoreNamespaces: {
      type: 'array',
      items: namespaceName,
      default: [],
      'x-flag': ['ignoreNamespace'],
      'x-expects': namespaceName['x-expects'],
      description:
        "Namespaces that are left alone, besides kube-system, kip's own and those flagged `images.kip/ignore`.",
    },
    templates: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['group', 'version', 'kind', 'plural'],
        properties: {
          group: { type: 'string', pattern: dnsSubdomain },
          version: { type: 'string', pattern: dnsLabel },
          kind: { type: 'string', pattern: '^[A-Z][A-Za-z0-9]*$' },
          plural: { type: 'string', pattern: dnsLabel },
          path: { type: 'string', pattern: '^[A-Za-z0-9_-]+(?:\\.[A-Za-z0-9_-]+)*$' },
        },
      },
      default: [],
      'x-expects': 'what a CustomResourceDefinition has there',
      description:
        'Custom resources that hold a pod template, as `{group, version, kind, plural, path}`; `path` is where the template is, `spec.template` when left out. kip has to be allowed to read them: see [discovery](discovery.md).',
    },
    namespaceSelector: {
      type: 'object',
      additionalProperties: false,
      properties: {
        matchLabels: {
          type: 'object',
          propertyNames: { pattern: qualifiedName },
          additionalProperties: { type: 'string', pattern: labelValue },
        },
        matchExpressions: {
          type: 'array',
          items: {
            type: 'object',
            additionalProperties: false,
            required: ['key', 'operator'],
            properties: {
              key: { type: 'string', pattern: qualifiedName },
              operator: { type: 'string', enum: ['In', 'NotIn', 'Exists', 'DoesNotExist'] },
              values: { type: 'array', items: { type: 'string', pattern: labelValue } },
            },
          },
        },
      },
      default: {},
      'x-expects': 'a label',
      description:
        "Only namespaces that this meta/v1 LabelSelector selects are cared for, such as `{matchLabels: {images.kip/care: 'true'}}`; those left out by name or flag stay out. Empty: all.",
    },
    keepSeconds: {
      type: 'integer',
      minimum: 0,
      default: 86_400,
      description:
        'How long an image stays wanted after its last use, unless its namespace needs the place for another. A day, so that what runs nightly stays at hand.',
    },
    include: {
      ...globs,
      default: ['**'],
      description:
        'Only images that one of these patterns matches are kept, by their full name (`docker.io/library/nginx:1`): `*` stands for anything but "/", `**` for anything, `?` for one character; tag and digest may be left out. IMAGES and CachedImages made by hand are always kept.',
    },
    exclude: {
      ...globs,
      default: [],
      description: 'Images that are left alone though `discovery.include` matches them.',
    },
    rollbackRevisions: {
      type: 'integer',
      minimum: 0,
      maximum: 1000,
      default: 2,
      description:
        'Past revisions of a Deployment, StatefulSet or DaemonSet (or of what else keeps ReplicaSets) whose images count as used, so that a rollback finds them at hand, as long as its `revisionHistoryLimit` keeps them. 2: the one before, and the one before that, should that be as bad.',
    },
    imagesPerNamespace: {
      type: 'integer',
      minimum: 1,
      maximum: 100_000,
      default: 500,
      description:
        'Images that one namespace may make kip keep, unused ones too, which make room for used ones; those that come last are left out and the namespace is named. 500: ten times what a large namespace runs, at a cost of at most 8 MB of etcd.',
    },
    gigabytesPerNamespace: {
      type: 'integer',
      minimum: 1,
      maximum: 1_000_000,
      default: 1000,
      description:
        'Compressed size, over all platforms, of the images that one namespace may make kip keep; two names of one digest count once. 1000: 500 images of 2 GB.',
    },
  },
}
