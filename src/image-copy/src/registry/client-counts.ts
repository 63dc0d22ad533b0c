import { type Counters, otherHosts } from '../counters.ts'
import type { RateLimit } from '../events.ts'
import { HostCounts } from './host-counts.ts'

/** Some 30 numbers each: far more registries than a cluster or a list has. */
const maxHosts = 100

type Blobs = Record<keyof Counters['blobs'], { count: number; bytes: number }>

/** What one client did, at all registries. */
export class ClientCounts {
  readonly #hosts = new Map<string, HostCounts>()
  readonly #blobs: Blobs = {
    copied: { count: 0, bytes: 0 },
    present: { count: 0, bytes: 0 },
    mounted: { count: 0, bytes: 0 },
    skipped: { count: 0, bytes: 0 },
  }
  readonly images: Record<keyof Counters['images'], number> = { done: 0, failed: 0, stopped: 0 }

  /** Where a registry is counted. */
  host(name: string): HostCounts {
    const known = this.#hosts.get(name)
    if (known !== undefined) return known
    const own = this.#hosts.size < maxHosts ? name : otherHosts
    const counts = this.#hosts.get(own) ?? new HostCounts()
    this.#hosts.set(own, counts)
    return counts
  }

  /** A blob of so many bytes is in the target now, or stays where it is. */
  blob(how: keyof Blobs, bytes: number): void {
    this.#blobs[how].count += 1
    this.#blobs[how].bytes += bytes
  }

  /** @param rateLimit what a host said last */
  snapshot(rateLimit: (host: string) => RateLimit | undefined): Counters {
    const { copied, present, mounted, skipped } = this.#blobs
    return {
      hosts: [...this.#hosts].map(([host, counts]) => ({
        ...counts.snapshot(host),
        rateLimit: rateLimit(host),
      })),
      blobs: {
        copied: { ...copied },
        present: { ...present },
        mounted: { ...mounted },
        skipped: { ...skipped },
      },
      images: { ...this.images },
    }
  }
}
