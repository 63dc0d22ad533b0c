/** What a client prints: `client.ts` all of it, its peer what is not optional. */
export interface ClientReport {
  readonly pods: number
  readonly images: number
  /** Additions and changes that came. */
  readonly events: number
  readonly digest: string
  /** Longest time for which the event loop was blocked since the last report. */
  readonly blockMs?: number
  /** Heap that is kept of a pod. */
  readonly podBytes?: number
  /** The part of it that is not the inventory's. */
  readonly beyondBytes?: number
}
