/** Who holds the bytes of a blob against its digest: this process, while they pass, or the target, before it stores them. */
export type Verifier = 'stream' | 'target'

/** What the bytes of a blob go through on their way. */
export interface RunningHash {
  /** Bytes that passed. */
  readonly position: number
  update(bytes: Uint8Array): void
  /** Goes back to `position`, or to where it can before that. @returns where that is */
  rewind(position: number): number
  /**
   * The digest of what passed, or undefined when that is left to the target. Nothing can be added afterwards without
   * {@link rewind}.
   */
  finish(): string | undefined
}
