/**
 * Raw JSON of the Kubernetes API, narrowed to the fields that kip reads or writes. Times are strings, unknown fields
 * are there at run time and must survive a write; nothing here was validated.
 */

export interface OwnerReference {
  readonly apiVersion: string
  readonly kind: string
  readonly name: string
  readonly uid: string
  readonly controller?: boolean
}

export interface ObjectMeta {
  readonly name?: string
  readonly generateName?: string
  readonly namespace?: string
  readonly uid?: string
  readonly resourceVersion?: string
  readonly generation?: number
  readonly creationTimestamp?: string
  readonly deletionTimestamp?: string
  /** Seconds that {@link deletionTimestamp} lies after the deletion itself. */
  readonly deletionGracePeriodSeconds?: number
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  readonly ownerReferences?: readonly OwnerReference[]
  readonly finalizers?: readonly string[]
}

/** Any object of the API server. */
export interface KubeObject {
  readonly apiVersion?: string
  readonly kind?: string
  readonly metadata?: ObjectMeta
}

export interface ListMeta {
  readonly resourceVersion?: string
  readonly continue?: string
}

export interface KubeList<T> {
  readonly metadata?: ListMeta
  readonly items?: readonly T[] | null
}

/** meta/v1 Status: the body of a refused request. */
export interface Status {
  readonly kind?: string
  readonly status?: string
  readonly message?: string
  readonly reason?: string
  readonly code?: number
  readonly details?: {
    readonly name?: string
    readonly kind?: string
    readonly retryAfterSeconds?: number
    readonly causes?: readonly {
      readonly reason?: string
      readonly message?: string
    }[]
  }
}

export interface LabelSelectorRequirement {
  readonly key: string
  readonly operator: string
  readonly values?: readonly string[]
}

export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>
  readonly matchExpressions?: readonly LabelSelectorRequirement[]
}

export interface LocalObjectReference {
  readonly name?: string
}

export interface ResourceRequirements {
  readonly requests?: Readonly<Record<string, string>>
  readonly limits?: Readonly<Record<string, string>>
}

export interface EnvVar {
  readonly name: string
  readonly value?: string
  readonly valueFrom?: {
    readonly configMapKeyRef?: { readonly name?: string; readonly key: string }
  }
}

export interface VolumeMount {
  readonly name: string
  readonly mountPath: string
  readonly readOnly?: boolean
}

/** The fields of a pod's and of a container's security context, of which each takes its own. */
export interface SecurityContext {
  readonly runAsUser?: number
  readonly runAsGroup?: number
  readonly runAsNonRoot?: boolean
  readonly fsGroup?: number
  readonly readOnlyRootFilesystem?: boolean
  readonly allowPrivilegeEscalation?: boolean
  readonly capabilities?: { readonly add?: readonly string[]; readonly drop?: readonly string[] }
  readonly seccompProfile?: { readonly type: string; readonly localhostProfile?: string }
}

/** Container, init container (with `restartPolicy: Always`: a sidecar) or ephemeral container. */
export interface Container {
  readonly name: string
  readonly image?: string
  readonly imagePullPolicy?: string
  readonly command?: readonly string[]
  readonly args?: readonly string[]
  readonly workingDir?: string
  readonly env?: readonly EnvVar[]
  readonly envFrom?: readonly {
    readonly prefix?: string
    readonly configMapRef?: { readonly name?: string; readonly optional?: boolean }
  }[]
  readonly ports?: readonly {
    readonly name?: string
    readonly containerPort: number
    readonly protocol?: string
  }[]
  readonly resources?: ResourceRequirements
  readonly volumeMounts?: readonly VolumeMount[]
  readonly securityContext?: SecurityContext
  readonly restartPolicy?: string
}

export interface Volume {
  readonly name: string
  readonly image?: { readonly reference?: string; readonly pullPolicy?: string }
  readonly emptyDir?: { readonly medium?: string; readonly sizeLimit?: string }
  readonly secret?: { readonly secretName?: string; readonly optional?: boolean }
  readonly configMap?: { readonly name?: string; readonly optional?: boolean }
}

export interface Toleration {
  readonly key?: string
  readonly operator?: string
  readonly value?: string
  readonly effect?: string
  readonly tolerationSeconds?: number
}

export interface PodSpec {
  readonly containers?: readonly Container[]
  readonly initContainers?: readonly Container[]
  readonly ephemeralContainers?: readonly Container[]
  readonly volumes?: readonly Volume[]
  readonly imagePullSecrets?: readonly LocalObjectReference[]
  readonly serviceAccountName?: string
  readonly automountServiceAccountToken?: boolean
  readonly nodeName?: string
  readonly nodeSelector?: Readonly<Record<string, string>>
  /** A core/v1 Affinity, carried as it is. */
  readonly affinity?: object
  readonly tolerations?: readonly Toleration[]
  readonly restartPolicy?: string
  readonly priorityClassName?: string
  readonly terminationGracePeriodSeconds?: number
  readonly enableServiceLinks?: boolean
  readonly hostNetwork?: boolean
  readonly securityContext?: SecurityContext
}

export interface ContainerState {
  readonly waiting?: { readonly reason?: string; readonly message?: string }
  readonly running?: { readonly startedAt?: string }
  readonly terminated?: {
    readonly exitCode: number
    readonly reason?: string
    readonly message?: string
  }
}

export interface ContainerStatus {
  readonly name: string
  readonly image?: string
  readonly imageID?: string
  readonly containerID?: string
  readonly ready?: boolean
  readonly state?: ContainerState
  readonly lastState?: ContainerState
}

export interface PodCondition {
  readonly type: string
  readonly status: string
  readonly reason?: string
  readonly message?: string
}

export interface PodStatus {
  readonly phase?: string
  readonly reason?: string
  readonly message?: string
  readonly conditions?: readonly PodCondition[]
  readonly containerStatuses?: readonly ContainerStatus[]
  readonly initContainerStatuses?: readonly ContainerStatus[]
  readonly ephemeralContainerStatuses?: readonly ContainerStatus[]
}

export interface Pod extends KubeObject {
  readonly spec?: PodSpec
  readonly status?: PodStatus
}

export interface PodTemplateSpec {
  readonly metadata?: ObjectMeta
  readonly spec?: PodSpec
}

/** apps/v1; `data` is the owner's, of StatefulSets and DaemonSets a patch that holds the pod template. */
export interface ControllerRevision extends KubeObject {
  readonly revision?: number
  readonly data?: { readonly spec?: { readonly template?: PodTemplateSpec } }
}

/** Deployment, StatefulSet, ReplicaSet and ReplicationController, as far as they are alike. */
export interface Workload extends KubeObject {
  readonly spec?: {
    readonly replicas?: number
    readonly selector?: LabelSelector | Readonly<Record<string, string>>
    readonly template?: PodTemplateSpec
  }
  readonly status?: {
    readonly observedGeneration?: number
    readonly replicas?: number
  }
}

export interface DaemonSet extends KubeObject {
  readonly spec?: {
    readonly selector?: LabelSelector
    readonly template?: PodTemplateSpec
    readonly minReadySeconds?: number
    readonly revisionHistoryLimit?: number
    readonly updateStrategy?: {
      readonly type?: string
      readonly rollingUpdate?: {
        readonly maxUnavailable?: number | string
        readonly maxSurge?: number | string
      }
    }
  }
  readonly status?: {
    readonly observedGeneration?: number
    readonly desiredNumberScheduled?: number
    readonly numberReady?: number
    readonly updatedNumberScheduled?: number
    readonly numberAvailable?: number
  }
}

export interface Node extends KubeObject {
  readonly spec?: {
    readonly taints?: readonly {
      readonly key: string
      readonly value?: string
      readonly effect: string
    }[]
  }
  readonly status?: {
    readonly capacity?: Readonly<Record<string, string>>
    readonly conditions?: readonly { readonly type: string; readonly status: string }[]
    readonly images?: readonly { readonly names?: readonly string[]; readonly sizeBytes?: number }[]
    readonly nodeInfo?: {
      readonly architecture?: string
      readonly operatingSystem?: string
      readonly kubeletVersion?: string
      readonly containerRuntimeVersion?: string
    }
  }
}

export interface ConfigMap extends KubeObject {
  readonly data?: Readonly<Record<string, string>> | null
}

export interface Secret extends KubeObject {
  readonly type?: string
  /** Base64. */
  readonly data?: Readonly<Record<string, string>> | null
  readonly immutable?: boolean
}

/** coordination.k8s.io/v1; times are MicroTime: RFC 3339 with exactly six digits of a second. */
export interface Lease extends KubeObject {
  readonly spec?: {
    readonly holderIdentity?: string | null
    readonly leaseDurationSeconds?: number | null
    readonly acquireTime?: string | null
    readonly renewTime?: string | null
    readonly leaseTransitions?: number | null
  } | null
}

export interface MutatingWebhook {
  readonly name: string
  readonly admissionReviewVersions: readonly string[]
  readonly clientConfig: {
    readonly url?: string
    readonly service?: {
      readonly namespace: string
      readonly name: string
      readonly path?: string
      readonly port?: number
    }
    /** Base64 of a PEM bundle. */
    readonly caBundle?: string
  }
  readonly rules?: readonly {
    readonly operations: readonly string[]
    readonly apiGroups: readonly string[]
    readonly apiVersions: readonly string[]
    readonly resources: readonly string[]
    readonly scope?: string
  }[]
  readonly failurePolicy?: string
  readonly matchPolicy?: string
  readonly reinvocationPolicy?: string
  readonly sideEffects?: string
  readonly timeoutSeconds?: number
  readonly namespaceSelector?: LabelSelector
  readonly objectSelector?: LabelSelector
  readonly matchConditions?: readonly { readonly name: string; readonly expression: string }[]
}

export interface MutatingWebhookConfiguration extends KubeObject {
  readonly webhooks?: readonly MutatingWebhook[]
}

export interface ObjectReference {
  readonly apiVersion?: string
  readonly kind?: string
  readonly namespace?: string
  readonly name?: string
  readonly uid?: string
  readonly resourceVersion?: string
}

/** events.k8s.io/v1; those of older recorders have the deprecated fields. */
export interface Event extends KubeObject {
  readonly eventTime?: string | null
  readonly series?: { readonly count?: number; readonly lastObservedTime?: string } | null
  readonly deprecatedCount?: number
  readonly deprecatedLastTimestamp?: string | null
  readonly reportingController?: string
  readonly reportingInstance?: string
  readonly action?: string
  readonly reason?: string
  readonly regarding?: ObjectReference
  readonly note?: string
  readonly type?: string
}
