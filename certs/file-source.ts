import { readFile } from 'node:fs/promises'
import { type Clock, sleep, systemClock } from '../src/kube/clock.ts'
import type { Log } from '../src/kube/log.ts'
import type { Metrics } from '../src/metrics/metrics.ts'
import { CertificateError } from './errors.ts'
import { HeldIdentity } from './held-identity.ts'
import type { ServingIdentity } from './identity.ts'
import { checkPair, readCertificates } from './pem.ts'
import type { CertificateSource } from './source.ts'

export interface FileSourceOptions {
  /** Folder with `tls.crt`, `tls.key` and, unless the system's authorities signed it, `ca.crt`. */
  readonly folder: string
  readonly log: Log
  readonly metrics: Metrics
  /** How often the files are read. Default 10 000. */
  readonly pollMs?: number
  readonly clock?: Clock
}

/**
 * The webhook's identity from a mounted Secret, which somebody else renews.
 *
 * The files are read again and compared rather than watched: a Secret mount changes by swapping a symbolic link, which
 * a watch on the files does not see.
 */
export function createFileSource(options: FileSourceOptions): CertificateSource {
  const { folder, clock = systemClock, pollMs = 10_000 } = options
  const held = new HeldIdentity(options.log, options.metrics)

  async function refresh(signal: AbortSignal): Promise<void> {
    try {
      held.accept(await readFolder(folder, signal))
    } catch (error) {
      if (!signal.aborted) held.fail(error)
      throw error
    }
  }

  return {
    loaded: held.loaded,
    current: () => held.current(),
    onChange: (listener) => held.onChange(listener),
    trusted: () => {},
    refresh,
    async run(signal) {
      while (!signal.aborted) {
        await refresh(signal).catch(() => {}) // held.fail() told of it
        await sleep(clock, pollMs, signal).catch(() => {}) // aborted
      }
    },
  }
}

/** Reads a folder with `tls.crt`, `tls.key` and maybe `ca.crt`. @throws CertificateError naming the file */
export async function readFolder(folder: string, signal: AbortSignal): Promise<ServingIdentity> {
  const [certificate, key, bundle] = await Promise.all([
    read(folder, 'tls.crt', signal),
    read(folder, 'tls.key', signal),
    read(folder, 'ca.crt', signal),
  ])
  if (certificate === undefined || key === undefined) {
    const missing = certificate === undefined ? 'tls.crt' : 'tls.key'
    throw new CertificateError('KIP_CERTS_FILES', `${folder}: there is no ${missing}`)
  }
  // A swap between two reads mixes an old file with a new one; the next round reads both new.
  checkPair(certificate, key, `tls.crt and tls.key in ${folder}`)
  if (bundle !== undefined) readCertificates(bundle, `ca.crt in ${folder}`)
  return { certificate, key, bundle: bundle ?? '' }
}

async function read(
  folder: string,
  file: string,
  signal: AbortSignal,
): Promise<string | undefined> {
  try {
    return await readFile(`${folder}/${file}`, { encoding: 'utf8', signal })
  } catch (cause) {
    if (signal.aborted) throw signal.reason
    if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined
    throw new CertificateError('KIP_CERTS_FILES', `${folder}/${file} cannot be read`, { cause })
  }
}
