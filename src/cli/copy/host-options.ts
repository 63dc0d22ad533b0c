import {
  faultOfAuthorities,
  faultOfClientCertificate,
  type RegistryClientOptions,
} from '@containers/image-copy'
import { UsageError } from '../errors.ts'
import type { HostArguments } from './host-arguments.ts'
import { readNamed } from './named-file.ts'

/**
 * Reads what the arguments name for single registries.
 *
 * @throws UsageError with every file that cannot be read or used
 */
export async function readHostOptions(
  args: HostArguments,
  readFile: (path: string) => string,
): Promise<Pick<RegistryClientOptions, 'ca' | 'hosts'>> {
  const faults: string[] = []
  const read = (option: string, file: string): string => {
    try {
      return readNamed(option, file, readFile)
    } catch (error) {
      if (!(error instanceof UsageError)) throw error
      faults.push(...error.faults)
      return ''
    }
  }
  const check = (fault: string | undefined, what: string): void => {
    if (fault !== undefined) faults.push(`${what}: ${fault}`)
  }
  const authorities = args.authorities.map(({ host, file }) => {
    const before = faults.length
    const pem = read('--ca', file)
    if (faults.length === before) check(faultOfAuthorities(pem), `--ca ${file}`)
    return { host, pem }
  })
  const identities = args.clientCerts.map(({ host, certFile, keyFile }) => {
    const before = faults.length
    const cert = read('--client-cert', certFile)
    const key = keyFile === certFile ? cert : read('--client-cert', keyFile)
    if (faults.length === before)
      check(faultOfClientCertificate(cert, key), `--client-cert ${host}`)
    return { host, cert, key }
  })
  if (faults.length > 0) throw new UsageError(faults)
  const trustedFor = (name: string | undefined): string | undefined =>
    authorities.flatMap(({ host, pem }) => (host === name ? [pem] : [])).join('\n') || undefined
  return {
    ca: trustedFor(undefined),
    hosts: (name) => ({
      http: args.http.includes(name),
      trustedRealms: args.trustedRealms,
      ca: trustedFor(name),
      mirrors: args.mirrors.flatMap(({ host, place }) => (host === name ? [place] : [])),
      cert: identities.find(({ host }) => host === name)?.cert,
      key: identities.find(({ host }) => host === name)?.key,
    }),
  }
}
