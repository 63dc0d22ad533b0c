/** What went wrong with the test cluster, for whoever has to act on it. */
export type ClusterErrorCode =
  /** Something that the machine or the user has to provide is missing: root, Go, disk, a package. */
  | 'KIP_CLUSTER_PREREQUISITE'
  /** Wrong arguments, or a cluster that is not (or already) there. */
  | 'KIP_CLUSTER_USAGE'
  /** By a signal, before the work was done. */
  | 'KIP_CLUSTER_STOPPED'
  | 'KIP_CLUSTER_BUILD'
  | 'KIP_CLUSTER_COMMAND'
  /** A component ended or did not become ready; the message carries the end of its log. */
  | 'KIP_CLUSTER_COMPONENT'

/** A failure of the test cluster or of the tool around it; the message says what to do about it where that is known. */
export class ClusterError extends Error {
  override readonly name = 'ClusterError'
  readonly code: ClusterErrorCode

  constructor(code: ClusterErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
