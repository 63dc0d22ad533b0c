import type { AnswerClass } from '../counters.ts'

/** What went over the connections of requests of one kind to one registry, in numbers that only grow. */
export class Traffic {
  /** Requests that were sent and are over. */
  readonly answers: Record<AnswerClass, number> = {
    '2xx': 0,
    '3xx': 0,
    '429': 0,
    '4xx': 0,
    '5xx': 0,
    none: 0,
    stopped: 0,
  }
  /** Connections that were opened for them, and that could not be. */
  connections = 0
  failedConnections = 0
  /** Bytes of bodies. */
  sentBytes = 0
  receivedBytes = 0

  /**
   * A request is over.
   *
   * @param status of its final answer; undefined: none came
   * @param stopped by the caller, which without an answer is nothing that the registry did
   */
  ended(status: number | undefined, stopped: boolean, sent: number, received: number): void {
    this.answers[classOf(status, stopped)] += 1
    this.sentBytes += sent
    this.receivedBytes += received
  }
}

function classOf(status: number | undefined, stopped: boolean): AnswerClass {
  if (status === undefined) return stopped ? 'stopped' : 'none'
  if (status < 300) return '2xx'
  if (status < 400) return '3xx'
  if (status < 500) return status === 429 ? '429' : '4xx'
  return '5xx'
}
