import { readFile } from 'node:fs/promises'
import { CertificateError } from './errors.ts'
import type { ServingIdentity } from './identity.ts'
import { checkPair, readCertificates } from './pem.ts'
import { PolledSource, type PolledSourceOptions } from './polled-source.ts'
import type { CertificateSource } from './source.ts'

export interface FileSourceOptions extends Omit<PolledSourceOptions, 'read' | 'trusted'> {
  /** Folder with `tls.crt`, `tls.key` and, unless the system's authorities signed it, `ca.crt`. */
  readonly folder: string
}

/**
 * The webhook's identity from a mounted Secret, which somebody else renews.
 *
 * The files are read again and compared rather than watched: a Secret mount changes by swapping a symbolic link, which
 * a watch on the files does not see.
 */
export function createFileSource(options: FileSourceOptions): CertificateSource {
  const { folder, ...polling } = options
  return new PolledSource({ ...polling, read: (signal) => readFolder(folder, signal) })
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
