import type { ServingIdentity } from './identity.ts'

/** Where the webhook's identity comes from: kip's own Secret, or files that somebody mounts. */
export interface CertificateSource {
  /** Resolves when there is something to serve. */
  readonly loaded: Promise<void>
  /** What to serve now; undefined before {@link CertificateSource.loaded}. */
  current(): ServingIdentity | undefined
  /** Follows changes until the signal aborts; faults are logged and counted, and the last good identity stays. */
  run(signal: AbortSignal): Promise<void>
  /** Reads at once; rejects when that fails, the last good identity stays. */
  refresh(signal: AbortSignal): Promise<void>
  /** Takes note that clients were seen to look up this bundle just now; {@link ServingIdentity.bundle} of some time. */
  trusted(bundle: string): void
  /** Calls back after every change of {@link CertificateSource.current}; returns how to stop. */
  onChange(listener: (identity: ServingIdentity) => void): () => void
}
