/**
 * All that a user can set, after every source (file, environment, flags) was read, checked and merged.
 *
 * The schema in `schema.ts` is the one place that names each setting, its default and its spellings elsewhere; this
 * type is its shape for the rest of the program. Durations are in the unit that the name ends with.
 */
export interface Settings {
  /** Namespace that kip lives in and makes its DaemonSets in; always excluded from discovery. */
  readonly namespace: string
  /** Path of a kubeconfig; empty: `$KUBECONFIG`, then `~/.kube/config`, then the pod's service account. */
  readonly kubeconfig: string
  /** Port of `/healthz`, `/readyz` and `/metrics`. */
  readonly port: number
  readonly pod: PodSettings
  readonly log: LogSettings
  readonly registries: RegistriesSettings
  readonly discovery: DiscoverySettings
  readonly mirror: MirrorSettings
  readonly admission: AdmissionSettings
  readonly puller: PullerSettings
  readonly multiCluster: MultiClusterSettings
  readonly leaderElection: LeaderElectionSettings
}

/** Who this process is; the manifests fill it by the downward API. */
export interface PodSettings {
  /** Empty: outside a cluster. */
  readonly name: string
  /** IP address that other replicas reach this one at; empty: outside a cluster. */
  readonly address: string
}

export interface LogSettings {
  readonly level: 'trace' | 'debug' | 'info' | 'warn' | 'error'
}

export interface RegistriesSettings {
  /** PEM bundle trusted for registries besides the system's; empty: the system's alone. */
  readonly caFile: string
  /** Hosts (`host[:port]`) that are spoken to by plain http. */
  readonly http: readonly string[]
  /** Docker `config.json` with the credentials for registries; empty: anonymous. */
  readonly credentialsFile: string
  /** Hosts (`host[:port]`) that are shown credentials as token servers, besides those known to be their registry's. */
  readonly trustedRealms: readonly string[]
  /** Hosts (`host[:port]`) that kip may dial; empty: every host that is not refused by address. */
  readonly allow: readonly string[]
}

export interface DiscoverySettings {
  /** `auto`: on where the cluster lets kip list pods and has the CachedImage CRD, else the puller runs alone. */
  readonly enabled: 'auto' | 'true' | 'false'
  /** Namespaces left out by name, besides kube-system and kip's own. */
  readonly ignoreNamespaces: readonly string[]
  /** Kinds of custom resources that hold a pod template, besides the built-in ones. */
  readonly templates: readonly TemplateSettings[]
  /** A meta/v1 LabelSelector of the namespaces that are cared for; empty: all that are not left out. */
  readonly namespaceSelector: NamespaceSelector
  /** How long an image stays wanted after its last use. */
  readonly keepSeconds: number
  /** Patterns of normalised references; only images that one of them matches are found. */
  readonly include: readonly string[]
  /** Patterns of images that are left alone all the same. */
  readonly exclude: readonly string[]
  /** Past revisions of a workload (a Deployment's ReplicaSets, ControllerRevisions) whose images count as used. */
  readonly rollbackRevisions: number
  /** Images that one namespace may make kip keep. */
  readonly imagesPerNamespace: number
  /** Their size, in 10⁹ bytes. */
  readonly gigabytesPerNamespace: number
}

/** A kind of custom resource, spelled as in its CustomResourceDefinition. */
export interface TemplateSettings {
  readonly group: string
  readonly version: string
  readonly kind: string
  readonly plural: string
  /** Keys that lead to the pod template, with dots between; absent: `spec.template`. */
  readonly path?: string
}

/** A meta/v1 LabelSelector, given as a whole. */
export interface NamespaceSelector {
  readonly matchLabels?: Readonly<Record<string, string>>
  readonly matchExpressions?: readonly {
    readonly key: string
    readonly operator: string
    readonly values?: readonly string[]
  }[]
  readonly [key: string]: unknown
}

export interface MirrorSettings {
  /** Backup registry with an optional path (`backup.test:5000/mirror`); empty: nothing is mirrored. */
  readonly registry: string
  /** `path` keeps host and path of the source below the backup; `flat` is imgCloneCtrl's `repo:a_b_c_tag`. */
  readonly mapping: 'path' | 'flat'
  /** User of the backup registry; empty: the credentials file, or anonymous. */
  readonly user: string
  /** Its password. Never logged, never put in a message. */
  readonly password: string
  /** File with the password instead, which may change while kip runs; empty: there is none. */
  readonly passwordFile: string
  /** Secret in the namespaces of pods that lets them pull copies; empty: none is needed. */
  readonly pullSecret: string
  /** Images copied at a time. */
  readonly concurrency: number
  /** How long pre-caching waits for a copy before it takes the source. */
  readonly preCacheWaitSeconds: number
}

export interface AdmissionSettings {
  readonly enabled: boolean
  readonly port: number
  /** Service that the API server reaches the webhook by. */
  readonly service: string
  /** URL instead of the Service, for a kip outside the cluster; empty: the Service. */
  readonly url: string
  /** `own`: kip makes and renews it; `secret`, `files`: somebody else does, in kip's Secret or in a mounted folder. */
  readonly certificate: 'own' | 'secret' | 'files'
  /** Folder with `tls.crt`, `tls.key` and `ca.crt`, for `files`. */
  readonly certificateFolder: string
  readonly rewrite: RewritePolicy
  /** Exceptions; the first that matches counts. */
  readonly rules: readonly RewriteRule[]
  /** What a rewritten image with `imagePullPolicy: Always` gets. */
  readonly pullPolicy: 'keep' | 'IfNotPresent'
  /** Stop rewriting for owners that do not get along with it. */
  readonly loopBreaker: boolean
  readonly timeoutSeconds: number
}

/**
 * `available`: a pod is pointed at a copy that was verified; `failover`: only while the source is down or has lost the
 * image; `never`: pods are left as they are.
 */
export type RewritePolicy = 'never' | 'available' | 'failover'

export interface RewriteRule {
  /** Patterns of names; absent: all namespaces. */
  readonly namespaces?: readonly string[]
  /** Patterns of normalised references; absent: all images. */
  readonly images?: readonly string[]
  readonly rewrite: RewritePolicy
}

export type Whereabouts = 'everywhere' | 'used'

export interface WhereRule {
  /** Patterns of normalised references. */
  readonly images: readonly string[]
  /** Absent: everywhere, whatever the setting of that name says. */
  readonly where?: Whereabouts
  /** Labels that the nodes must have; absent: any. */
  readonly nodeSelector?: Readonly<Record<string, string>>
}

export interface PullerSettings {
  readonly enabled: boolean
  /** `external`: an existing kubernetes-image-puller holds the images, and kip tells it which. */
  readonly mode: 'own' | 'external'
  /** Of that one; empty: kip's own namespace. */
  readonly externalNamespace: string
  readonly externalConfigMap: string
  readonly externalDeployment: string
  /** The static IMAGES. */
  readonly images: readonly StaticImage[]
  /** `auto`: image volumes where the server and all nodes can, else `init`; so is `volume`, which says when it cannot. */
  readonly strategy: 'auto' | 'volume' | 'init' | 'sleep'
  /** `used`: an image is held where pods that use it may run; else on every node. */
  readonly where: Whereabouts
  /** The first whose patterns match an image says where it is held instead. */
  readonly rules: readonly WhereRule[]
  /** Puller pods that a node may have, at least 2. */
  readonly podsPerNode: number
  /** Nodes that pull what is new at the same time. */
  readonly nodesAtOnce: number
  /** Shards that what is held for good is spread over, where images are discovered and there are enough of them. */
  readonly shards: number
  /** Nodes with the startup taint are released when they hold the images, or are so old; 0: taints are left alone. */
  readonly startupTaintSeconds: number
  /** Share of the smallest node's disk that images may take, in percent; 100: no bound. */
  readonly diskPercent: number
  /** Images that need credentials, with those of their users: where all kubelets check who may use an image, or anywhere. */
  readonly privateImages: 'off' | 'verified' | 'all'
  /** PriorityClass of the puller's pods; empty: the cluster's default. */
  readonly priorityClass: string
  readonly daemonSetName: string
  readonly daemonSetAnnotations: Readonly<Record<string, string>>
  /** Deployment that owns the DaemonSets, so that they go with it; empty: no owner. */
  readonly deploymentName: string
  readonly nodeSelector: Readonly<Record<string, string>>
  /** A core/v1 Affinity, as the API server takes it. */
  readonly affinity: Readonly<Record<string, unknown>>
  /** core/v1 Tolerations, as the API server takes them. */
  readonly tolerations: readonly Readonly<Record<string, unknown>>[]
  /** Names of pull secrets in kip's namespace. */
  readonly imagePullSecrets: readonly string[]
  /** Image with the static `sleep` program at `/kip/sleep`, or KIP's own image. */
  readonly sleepImage: string
  /** Whether the cluster assigns users to pods itself, as OpenShift does; `auto`: it is looked for. */
  readonly openShift: 'auto' | 'true' | 'false'
  /** Cache the original name of a rewritten image too, best effort. */
  readonly cacheOriginals: boolean
  readonly intervalHours: number
  /** Per cached container under `sleep`, per holder otherwise; empty: kip's own small defaults. */
  readonly memoryRequest: string
  readonly memoryLimit: string
  readonly cpuRequest: string
  readonly cpuLimit: string
}

export interface StaticImage {
  readonly name: string
  readonly image: string
}

/** KIP's old multi-cluster mode: the static IMAGES in the clusters of other users, through a proxy. */
export interface MultiClusterSettings {
  /** `auto`: on where provider, proxy and users are all named. */
  readonly enabled: 'auto' | 'true' | 'false'
  /** https URL; its `/token` gives tokens. */
  readonly oidcProvider: string
  /** https URL of the API server or proxy that users are impersonated at. */
  readonly proxyUrl: string
  readonly users: readonly string[]
  /** Client id and secret at the provider. */
  readonly serviceAccountId: string
  readonly serviceAccountSecret: string
  /** PEM bundle trusted for both besides the public authorities; empty: those alone. */
  readonly caFile: string
}

export interface LeaderElectionSettings {
  readonly name: string
  /** Empty: the same as `namespace`. */
  readonly namespace: string
  readonly leaseDurationSeconds: number
  readonly renewDeadlineSeconds: number
  readonly retryPeriodSeconds: number
}
