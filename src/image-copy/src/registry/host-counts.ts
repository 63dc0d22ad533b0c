import type { HostCounters, RequestKind } from '../counters.ts'
import { Traffic } from '../http/traffic.ts'

/** What was done at one registry. */
export class HostCounts {
  readonly traffic: Readonly<Record<RequestKind, Traffic>> = {
    read: new Traffic(),
    write: new Traffic(),
    token: new Traffic(),
  }
  retries = 0
  throttledWaits = 0
  throttledMs = 0
  resumedDownloads = 0
  resumedUploads = 0

  /** Counts the time that `wait` takes as asked for by the registry, that of one that is stopped too. */
  async throttled(wait: Promise<void>, now: () => number): Promise<void> {
    const started = now()
    this.throttledWaits += 1
    try {
      await wait
    } finally {
      this.throttledMs += now() - started
    }
  }

  /** All of it, as it is now. */
  snapshot(host: string): HostCounters {
    const { read, write, token } = this.traffic
    const sum = (of: (traffic: Traffic) => number): number => of(read) + of(write) + of(token)
    return {
      host,
      requests: {
        read: { ...read.answers },
        write: { ...write.answers },
        token: { ...token.answers },
      },
      sentBytes: sum((it) => it.sentBytes),
      receivedBytes: sum((it) => it.receivedBytes),
      connections: sum((it) => it.connections),
      failedConnections: sum((it) => it.failedConnections),
      retries: this.retries,
      throttledWaits: this.throttledWaits,
      throttledMs: this.throttledMs,
      resumedDownloads: this.resumedDownloads,
      resumedUploads: this.resumedUploads,
    }
  }
}
