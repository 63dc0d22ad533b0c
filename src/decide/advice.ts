import type { ReasonCode } from './codes.ts'

/** What to do about each reason, in Markdown, its links from `docs/`: the last column of `docs/reasons.md`. */
export const advice: Readonly<Record<ReasonCode, string>> = Object.freeze({
  Mirror: 'Nothing to do; the condition `Mirrored` says how far it is.',
  Rewritten:
    'Nothing to do. The original stands in the pod annotation `images.kip/original-images`.',
  CacheBackup: 'Nothing to do; the condition `Cached` says how far it is.',
  CacheSource: 'Nothing to do. When a copy is verified later, the nodes change to it.',
  InvalidReference: 'Correct `image:` in the workload. An Event on it names the fault.',
  NotWanted: 'Nothing to do. kip takes the object away.',
  NoBackup: 'Set `mirror.registry` to have images backed up.',
  IsBackup: 'Nothing to do: a copy is not copied again.',
  NotMappable:
    'The name below the backup would be too long (255 characters); or `mirror.mapping` is `flat` and `mirror.registry` names no repository.',
  NotResolved:
    'Wait a few seconds. If it stays: look at the log of the leader, component `resolver`.',
  NeedsCredentials:
    'Nodes hold it with the pull secrets of its pods where [`puller.privateImages`](puller.md#private-images) says so, or with `IMAGE_PULL_SECRETS` where `IMAGES` names it. It is not copied.',
  SourceMissing:
    'Check the name and the tag; `status.source.message` says what was asked. kip asks again by itself.',
  SourceUnreachable:
    'See `status.source.message`: name resolution, TLS, rate limit, or a refused address. kip asks again by itself.',
  SourceInvalid:
    'The manifest is broken or of a kind that cannot be copied (Docker schema 1). Push the image anew.',
  RewriteNever:
    'See `admission.rewrite`, `admission.rules` (the first that matches counts) and `admission.enabled`.',
  RewriteStopped:
    'See the Event `RewriteStopped` on the owner, and [the loop breaker](webhook.md#owners-that-do-not-get-along-with-it).',
  SourceAvailable: 'Nothing to do: this is what `failover` means.',
  NoPullSecret:
    'Put a Secret of the name `mirror.pullSecret` into the namespace. To a pod that runs kip adds none: an ephemeral container is rewritten only where the pod names it.',
  CopyNotPulled:
    'New pods keep their own image until one node has the copy; `status.nodes.failures` says what went wrong. Where the backup asks for credentials, set `mirror.pullSecret` (see [a private backup](webhook.md#a-private-backup)), give the nodes credentials of their own, or let everybody read the repository; where pods have such a secret already, name it in `IMAGE_PULL_SECRETS`.',
  NamespaceExcluded:
    'kube-system and the namespace of kip always are; else see `discovery.ignoreNamespaces`, `discovery.namespaceSelector` and the flag `images.kip/ignore` on the namespace.',
  OptedOut: 'Take the flag off the pod, its template or its workload.',
  StaticPod:
    'Nothing to do. Point the manifest on the node at the backup by hand if you want that.',
  OwnPod: 'Nothing to do: kip must start when the backup is down.',
  PullPolicyNever: 'Nothing to do: the image is expected to be on the node under this very name.',
  UnknownImage:
    'Wait for the first pod or workload with it to be found; later pods are rewritten. If it stays: `discovery.include`, `discovery.exclude`, `discovery.imagesPerNamespace` or `discovery.gigabytesPerNamespace` leaves the image out.',
  NotMirrored: 'Wait for the copy; see `status.mirrors` for its state and, if it failed, why.',
  CopyOutdated:
    'Wait for the copy of the new image. Until then pods get it from the source, as without kip.',
  DigestDiffers:
    'The backup holds another image under the tag of this pin: somebody else wrote there. Delete that tag.',
  MaybePrivate:
    'kip could not look at the source, which may ask for credentials: the condition `Resolved` says why. An image that kip reads as anybody may, and cannot copy, is none of these. Let it (`registries.allow`, `registries.caFile`, the network), or name the image in `IMAGES`. Where no image of `IMAGES` needs `IMAGE_PULL_SECRETS`, leave that empty. At the host of the backup `mirror.pullSecret` counts as one of them. Where every kubelet is 1.35 or later nothing is held back.',
  NoDisk:
    'Raise `puller.diskPercent`, give the smallest node a larger disk, or want less: what is used most and costs most to pull is kept.',
  NotVerified:
    'Bring the nodes to Kubernetes 1.35, or set `puller.privateImages: all` and let every pod of a node use what it holds.',
  NoCredentials:
    "Give the pods or their service account a pull secret. What a kubelet's credential provider gets for a service account or a node cannot be had beforehand; such pods start only while the registry answers. The counts are those of the other pods' credentials.",
  NoEtcd:
    'Want less, or have the images on fewer nodes (`NODE_SELECTOR`); where `puller.strategy` came to `init` or `sleep`, nodes that can mount images let it be `volume`, which stores a third. What is used most and costs most to pull is held. See [what etcd stores](puller.md#what-etcd-stores).',
  Altered:
    "Exempt kip's namespace from the webhook that kip's log hints at by what the reference becomes, or have it leave pods with the label `images.kip/ignore` alone. Where it changes the users' pods too, nothing is lost: what they name then is found and held. Tried again after ten minutes, then four times as late each time, up to a day, and when kip starts.",
  NoRoom:
    'Raise `puller.podsPerNode`, or want less: what is used most and costs most to pull is held, and what waits is taken in when there is room or it is worth more.',
  PodsRefused:
    "A ResourceQuota, a LimitRange, Pod Security or a webhook: kip's log says which, and `kubectl describe daemonset` in kip's namespace in full. See [the quota that is needed](puller.md#how-many-pods). kip and the DaemonSet controller try again by themselves.",
  WaitingForCopy: 'Wait; after `mirror.preCacheWaitSeconds` the nodes take the source.',
})
