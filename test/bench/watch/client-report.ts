/** Line on a client's standard input that has it watch its event loop from then on. */
export const WATCH_LOOP = 'loop'

/** What a client prints: `client.ts` all of it, its peer what is not optional. */
export interface ClientReport {
  readonly pods: number
  readonly images: number
  /** Additions and changes that came. */
  readonly events: number
  readonly digest: string
  /** Longest time for which the event loop was blocked: while listing, or since it was asked to watch for that. */
  readonly blockMs?: number
  /** How late a timer was at most in that time, for the kernel's reasons too. */
  readonly lateMs?: number
  /** Heap that is kept of a pod. */
  readonly podBytes?: number
  /** The part of it that is not the inventory's. */
  readonly beyondBytes?: number
}
