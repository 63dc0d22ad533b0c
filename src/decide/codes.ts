/**
 * Every reason that a decision can have. The codes are stable: they stand in conditions, Events, audit annotations,
 * metrics and logs, and `docs/reasons.md` explains them one by one.
 */
export const reasons = Object.freeze({
  Mirror: 'the image is copied to the backup registry',
  Rewritten: 'the pod is pointed at the verified copy',
  CacheBackup: 'the nodes cache the verified copy',
  CacheSource: 'the nodes cache the image from its source',

  InvalidReference: 'this is no image reference',
  NotWanted: 'nobody wants the image any more',
  NoBackup: 'no backup registry is configured',
  IsBackup: 'the reference lies in the backup registry itself',
  NotMappable: 'the image has no place in the backup registry',

  NotResolved: 'the source was not looked up yet',
  NeedsCredentials:
    'the source asks for credentials, and kip copies and shares only what anybody may pull',
  SourceMissing: 'the registry of the source does not have the image',
  SourceUnreachable: 'the registry of the source cannot be reached',
  SourceInvalid: 'what the source holds is no valid image',

  RewriteNever: 'kip is told not to rewrite the image here',
  RewriteStopped:
    'rewriting was stopped for the owner, whose pods were recreated again and again or refused after it',
  SourceAvailable:
    'the source is not known to be down or to have lost the image, and pods are pointed at the copy only then',
  NoPullSecret: 'the copy needs a pull secret that is not there',
  CopyNotPulled: 'the nodes were asked for the copy, and none of them could pull it',
  NamespaceExcluded: 'the namespace is excluded',
  OptedOut: 'the pod or its workload is opted out with images.kip/ignore',
  StaticPod: 'the pod is a static pod, which its kubelet runs whatever the API server holds',
  OwnPod: 'the pod is one of kip itself',
  PullPolicyNever: 'the image is never pulled (imagePullPolicy: Never)',
  UnknownImage: 'kip does not know the image yet',
  NotMirrored: 'there is no verified copy yet',
  CopyOutdated: 'the tag has moved at the source, and its new image is not copied yet',
  DigestDiffers: 'the digest of the copy is not the one that the reference names',

  MaybePrivate:
    'nobody has seen yet that anybody may pull the image, and the nodes would pull it with secrets of kip',
  NoDisk: 'the share of the disk that images may take on a node is full',
  NotVerified:
    'the image needs credentials, and a kubelet does not check who may use what another pod pulled',
  NoCredentials:
    'the image needs credentials, and some of the pods that use it name no pull secret for it',
  NoEtcd: 'the puller stores as much of images and nodes in etcd as it may',
  Altered: 'another admission webhook changes the reference in what the puller asks nodes with',
  NoRoom: 'the pods that the puller may have on a node are full',
  PodsRefused: "the API server refuses the puller's pods on some node",

  WaitingForCopy: 'the nodes wait for the copy, to pull it from the backup',
})

export type ReasonCode = keyof typeof reasons

/** One answer: whether to act, and why or why not. */
export interface Verdict {
  readonly act: boolean
  readonly code: ReasonCode
  /** One sentence for people, without a full stop. */
  readonly text: string
}

/** A decision with the sentence of its reason. */
export function verdict(act: boolean, code: ReasonCode): Verdict {
  return { act, code, text: reasons[code] }
}
