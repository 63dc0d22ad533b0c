import {
  backupPattern,
  dnsLabel,
  dnsSubdomain,
  hostPattern,
  imageGlob,
  imageReference,
  labelValue,
  namespaceGlob,
  qualifiedName,
  quantity,
} from './patterns.ts'
import type { SectionSchema } from './schema-types.ts'
import type { Settings } from './settings.ts'

const port = { type: 'integer', minimum: 1, maximum: 65535 } as const

const hosts = {
  type: 'array',
  items: { type: 'string', pattern: hostPattern },
  'x-expects': 'a registry host, such as registry.example.com or registry.example.com:5000',
} as const

const globs = {
  type: 'array',
  items: { type: 'string', pattern: imageGlob },
  'x-expects':
    'a pattern of full image names, such as docker.io/library/*, ghcr.io/** or **:latest',
} as const

const rewritePolicy = { type: 'string', enum: ['never', 'available', 'failover'] } as const

const amount = {
  type: 'string',
  default: '',
  pattern: quantity,
  'x-expects': 'a Kubernetes quantity, such as 10Mi or 50m',
} as const

const objectName = {
  type: 'string',
  minLength: 1,
  maxLength: 230,
  pattern: dnsSubdomain,
  'x-expects': 'a Kubernetes object name: lower-case letters, digits, "-" and "."',
} as const

const httpsUrl = {
  type: 'string',
  pattern: '^(?:https://[^\\s/?#@]+(?:/[^\\s?#@]*)?)?$',
  'x-expects': 'an https:// URL without user, query and fragment',
  default: '',
} as const

const namespaceName = {
  type: 'string',
  pattern: dnsLabel,
  'x-expects': 'a namespace name: at most 63 lower-case letters, digits and "-"',
} as const

/**
 * Every setting: its shape, default, meaning, and other spellings. The loader, its messages and the configuration page
 * are all derived from here. JSON Schema draft 07; keywords of kip's own start with `x-`.
 */
export const settingsSchema: SectionSchema<Settings> = {
  type: 'object',
  description: 'What the process itself needs.',
  additionalProperties: false,
  properties: {
    namespace: {
      ...namespaceName,
      default: 'k8s-image-puller',
      'x-env': ['NAMESPACE'],
      description:
        'Namespace that kip lives in and makes its DaemonSets in. It is always left out of discovery.',
    },
    kubeconfig: {
      type: 'string',
      default: '',
      'x-env': ['KUBECONFIG'],
      'x-flag': ['kubeconfig'],
      description:
        "Path of a kubeconfig. Empty: `~/.kube/config` if it exists, else the pod's service account.",
    },
    port: {
      ...port,
      default: 8080,
      description: 'Port of `/healthz`, `/readyz` and `/metrics`.',
    },
    pod: {
      type: 'object',
      description: 'Who this process is. The manifests fill it by the downward API.',
      additionalProperties: false,
      properties: {
        name: {
          type: 'string',
          default: '',
          'x-env': ['POD_NAME'],
          description: 'Name of the pod. Empty: outside a cluster, the host name is used.',
        },
        address: {
          type: 'string',
          default: '',
          'x-env': ['POD_IP'],
          description: 'IP address at which other replicas reach this one.',
        },
      },
    },
    log: {
      type: 'object',
      description: 'The log, one JSON object a line on standard output.',
      additionalProperties: false,
      properties: {
        level: {
          type: 'string',
          enum: ['trace', 'debug', 'info', 'warn', 'error'],
          default: 'info',
          description: 'Least severe level that is written.',
        },
      },
    },
    registries: {
      type: 'object',
      description: 'How registries are spoken to.',
      additionalProperties: false,
      properties: {
        caFile: {
          type: 'string',
          default: '',
          description: "PEM bundle that is trusted for registries, besides the system's.",
        },
        http: {
          ...hosts,
          default: [],
          description: 'Hosts that are spoken to by plain http. All others speak TLS.',
        },
        credentialsFile: {
          type: 'string',
          default: '',
          description:
            'Docker `config.json` with credentials for registries. Empty: registries are asked anonymously.',
        },
        allow: {
          ...hosts,
          default: [],
          description:
            'The only hosts that kip may dial. Empty: every host, save for the addresses that are always refused (loopback, link-local, the API server, Services). A host in the list may have such an address.',
        },
      },
    },
    discovery: {
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
            'How long an image stays wanted after its last use. A day, so that what runs nightly stays at hand.',
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
            'Images that one namespace may make kip keep; those that come last are left out and the namespace is named. 500: ten times what a large namespace runs, at a cost of at most 8 MB of etcd.',
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
    },
    mirror: {
      type: 'object',
      description: 'Backing images up to a registry of yours.',
      additionalProperties: false,
      properties: {
        registry: {
          type: 'string',
          pattern: backupPattern,
          default: '',
          'x-flag': ['backupRegistry'],
          'x-expects':
            'host[:port][/path] in lower case, without scheme and trailing "/" (for Docker Hub: docker.io/<user>)',
          description:
            'Backup registry with an optional path, such as `registry.example.com/mirror`. Empty: nothing is mirrored.',
        },
        mapping: {
          type: 'string',
          enum: ['path', 'flat'],
          default: 'path',
          description:
            "`path` keeps host and path of the source below the backup; `flat` is imgCloneCtrl's `<registry>:a_b_c_tag` in one repository, where two sources can collide.",
        },
        user: {
          type: 'string',
          default: '',
          'x-flag': ['backupRegistryUser'],
          description: 'User of the backup registry. Empty: from `registries.credentialsFile`.',
        },
        password: {
          type: 'string',
          default: '',
          'x-flag': ['backupRegistryPassword'],
          'x-secret': true,
          description:
            'Password of that user. Better in a file: whoever may read the pod can read its arguments.',
        },
        passwordFile: {
          type: 'string',
          default: '',
          description: 'File with the password of that user, such as one of a mounted Secret.',
        },
        pullSecret: {
          type: 'string',
          pattern: `^$|${dnsSubdomain}`,
          'x-expects': 'the name of a Secret',
          default: '',
          description:
            'Name of the Secret with which pods pull from the backup. Pods are rewritten only where their namespace holds a Secret of that name, and get it appended to their `imagePullSecrets`. Empty: nodes need none.',
        },
        concurrency: {
          type: 'integer',
          minimum: 1,
          maximum: 64,
          default: 4,
          description: 'Images copied at a time.',
        },
        preCacheWaitSeconds: {
          type: 'integer',
          minimum: 0,
          default: 60,
          description:
            'How long pre-caching waits for the backup copy of an image before it takes the source.',
        },
      },
    },
    admission: {
      type: 'object',
      description: 'Pointing new pods at the backup, by a mutating webhook.',
      additionalProperties: false,
      properties: {
        enabled: {
          type: 'boolean',
          default: true,
          description: 'Answer admission requests and register the webhook.',
        },
        port: { ...port, default: 8443, description: 'Port of the webhook, TLS.' },
        service: {
          type: 'string',
          pattern: dnsLabel,
          'x-expects': 'a Service name: at most 63 lower-case letters, digits and "-"',
          default: 'kip-webhook',
          description: 'Service by which the API server reaches the webhook.',
        },
        url: {
          ...httpsUrl,
          description: 'URL instead of the Service, for a kip outside the cluster.',
        },
        certificate: {
          type: 'string',
          enum: ['own', 'secret', 'files'],
          default: 'own',
          description:
            'Who looks after the certificate of the webhook. `own`: kip, in the Secret `kip-webhook-certs`; `secret`: somebody else, such as cert-manager, in that Secret; `files`: somebody else, in `certificateFolder`.',
        },
        certificateFolder: {
          type: 'string',
          minLength: 1,
          default: '/etc/kip/webhook-certs',
          description:
            'Folder with `tls.crt`, `tls.key` and, unless a public authority signed it, `ca.crt`; for `certificate: files`.',
        },
        rewrite: {
          ...rewritePolicy,
          default: 'available',
          description:
            '`available`: a new pod is pointed at the backup copy of an image once that was verified; `failover`: only while the source is known to be down or to have lost the image; `never`: pods are left as they are.',
        },
        rules: {
          type: 'array',
          items: {
            type: 'object',
            additionalProperties: false,
            required: ['rewrite'],
            properties: {
              namespaces: {
                type: 'array',
                minItems: 1,
                items: { type: 'string', pattern: namespaceGlob },
              },
              images: { type: 'array', minItems: 1, items: globs.items },
              rewrite: rewritePolicy,
            },
          },
          default: [],
          'x-expects': 'a pattern of namespace names, or of full image names',
          description:
            'Exceptions to `rewrite`, as `{namespaces, images, rewrite}`: the first counts whose patterns match the namespace and the full name of the image. A list that is left out matches all; `*` and `?` are wildcards as in `discovery.include`.',
        },
        pullPolicy: {
          type: 'string',
          enum: ['keep', 'IfNotPresent'],
          default: 'keep',
          description:
            '`IfNotPresent`: a rewritten image with `imagePullPolicy: Always` gets this policy: its digest says all that a pull could find out, so that nodes which hold it ask no registry. `keep`: nothing but the image is changed.',
        },
        loopBreaker: {
          type: 'boolean',
          default: true,
          description:
            'Stop rewriting for an owner that deletes and recreates its pods again and again after they were rewritten, or whose rewritten pods are refused.',
        },
        timeoutSeconds: {
          type: 'integer',
          minimum: 1,
          maximum: 30,
          default: 2,
          description:
            'How long the API server waits for an answer before it takes the pod as it is. An answer takes about a millisecond, so 2 covers a busy node.',
        },
      },
    },
    puller: {
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
              where: { type: 'string', enum: ['everywhere', 'used'], default: 'everywhere' },
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
            "Pull secrets of the pods that hold the images, by name, in kip's namespace: `secret1;secret2`.",
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
          description: 'Memory request of each cached container. Empty: what the strategy needs.',
        },
        memoryLimit: {
          ...amount,
          'x-env': ['CACHING_MEMORY_LIMIT'],
          description: 'Memory limit of each cached container. Empty: what the strategy needs.',
        },
        cpuRequest: {
          ...amount,
          'x-env': ['CACHING_CPU_REQUEST'],
          description: 'CPU request of each cached container. Empty: what the strategy needs.',
        },
        cpuLimit: {
          ...amount,
          'x-env': ['CACHING_CPU_LIMIT'],
          description: 'CPU limit of each cached container. Empty: what the strategy needs.',
        },
      },
    },
    multiCluster: {
      type: 'object',
      description:
        "KIP's old multi-cluster mode: IMAGES in several users' clusters, by one replica.",
      additionalProperties: false,
      properties: {
        enabled: {
          type: 'string',
          enum: ['auto', 'true', 'false'],
          default: 'auto',
          'x-env': ['MULTICLUSTER'],
          description: '`auto`: on when provider, proxy and users are all set.',
        },
        oidcProvider: {
          ...httpsUrl,
          'x-env': ['OIDC_PROVIDER'],
          description:
            'OpenID provider; a token comes from `<oidcProvider>/token` by the client-credentials grant.',
        },
        proxyUrl: {
          ...httpsUrl,
          'x-env': ['OPENSHIFT_PROXY_URL'],
          description: 'API server, or proxy that leads each user to the right one.',
        },
        users: {
          type: 'array',
          items: { type: 'string', minLength: 1, maxLength: 256, pattern: '^[\\x21-\\x7e]+$' },
          default: [],
          'x-env': ['IMPERSONATE_USERS'],
          'x-expects': 'the name of a user',
          description:
            'Users to impersonate, `user1,user2`. Each needs `create`, `delete`, `watch` and `get` of DaemonSets in `namespace` of the cluster.',
        },
        serviceAccountId: {
          type: 'string',
          default: '',
          'x-env': ['SERVICE_ACCOUNT_ID'],
          description: "kip's client id at the provider.",
        },
        serviceAccountSecret: {
          type: 'string',
          default: '',
          'x-env': ['SERVICE_ACCOUNT_SECRET'],
          'x-secret': true,
          description: 'Secret of that client. Better in the environment, from a Secret.',
        },
        caFile: {
          type: 'string',
          default: '',
          description:
            'PEM bundle that is trusted for provider and proxy, besides the public authorities. Certificates are always verified.',
        },
      },
    },
    leaderElection: {
      type: 'object',
      description:
        'Which replica runs discovery, mirror and puller. The times are those of client-go.',
      additionalProperties: false,
      properties: {
        name: {
          ...objectName,
          default: 'kip',
          'x-flag': ['leaderElectionID'],
          description: 'Name of the Lease.',
        },
        namespace: {
          type: 'string',
          pattern: `^$|${dnsLabel}`,
          'x-expects': namespaceName['x-expects'],
          default: '',
          'x-flag': ['leaderElectionNamespace'],
          description: 'Namespace of the Lease. Empty: the same as `namespace`.',
        },
        leaseDurationSeconds: {
          type: 'integer',
          minimum: 2,
          maximum: 3600,
          default: 15,
          description: 'How long a leader that went silent is waited for.',
        },
        renewDeadlineSeconds: {
          type: 'number',
          exclusiveMinimum: 0,
          default: 10,
          description: 'How long a leader tries to renew before it stands down.',
        },
        retryPeriodSeconds: {
          type: 'number',
          exclusiveMinimum: 0,
          default: 2,
          description: 'Time between two attempts.',
        },
      },
    },
  },
}
