import { isRegistryHost, isRepository } from '@containers/image-copy'
import { nameRegistry } from '../../config/docker-hub.ts'

/** What the arguments of `kip copy` say of single registries, before any file is read. */
export interface HostArguments {
  /** Registries of plain http. */
  readonly http: readonly string[]
  /** Hosts that are shown credentials as token servers, besides those known to be their registry's. */
  readonly trustedRealms: readonly string[]
  readonly authorities: readonly AuthorityArgument[]
  readonly clientCerts: readonly ClientCertArgument[]
  readonly mirrors: readonly MirrorArgument[]
}

/** `--ca [HOST=]FILE` */
export interface AuthorityArgument {
  /** Undefined: it counts for every registry. */
  readonly host: string | undefined
  readonly file: string
}

/** `--client-cert HOST=CERTFILE[,KEYFILE]` */
export interface ClientCertArgument {
  readonly host: string
  readonly certFile: string
  /** The certificate's own file may hold the key too. */
  readonly keyFile: string
}

/** `--mirror HOST=PLACE` */
export interface MirrorArgument {
  readonly host: string
  /** A host, and a path there before each repository, or none. */
  readonly place: string
}

/** How Node's parser is told of the options for single registries. */
export const HOST_OPTIONS = {
  http: { type: 'string', multiple: true },
  ca: { type: 'string', multiple: true },
  'client-cert': { type: 'string', multiple: true },
  mirror: { type: 'string', multiple: true },
  'trust-realm': { type: 'string', multiple: true },
} as const

type HostValues = { readonly [K in keyof typeof HOST_OPTIONS]?: readonly string[] | undefined }

/** @param faults - gets what is wrong with any of them */
export function parseHostArguments(values: HostValues, faults: string[]): HostArguments {
  const read = <T>(
    option: keyof HostValues,
    form: string,
    parse: (text: string) => T | undefined,
  ): readonly T[] =>
    (values[option] ?? []).flatMap((text) => {
      const parsed = parse(text)
      if (parsed === undefined) faults.push(`--${option} ${JSON.stringify(text)}: give ${form}`)
      return parsed ?? []
    })
  const clientCerts = read('client-cert', 'HOST=CERTFILE,KEYFILE', parseClientCert)
  for (const [index, { host }] of clientCerts.entries()) {
    if (clientCerts.findIndex((other) => other.host === host) < index)
      faults.push(`--client-cert ${host}: give one for each registry`)
  }
  return {
    http: read('http', 'host or host:port', parseHost),
    trustedRealms: read('trust-realm', 'host or host:port', parseHost),
    authorities: read('ca', 'FILE, or HOST=FILE', parseAuthority),
    clientCerts,
    mirrors: read('mirror', 'HOST=PLACE, where PLACE is a host and maybe a path', parseMirror),
  }
}

function parseHost(text: string): string | undefined {
  return isRegistryHost(text) ? nameRegistry(text) : undefined
}

/** `HOST=VALUE`; the name of a file may hold `=` as well, but hardly a host before it. */
function hostAndValue(text: string): readonly [host: string, value: string] | undefined {
  const equals = text.indexOf('=')
  const host = text.slice(0, Math.max(0, equals))
  return isRegistryHost(host) ? [nameRegistry(host), text.slice(equals + 1)] : undefined
}

function parseAuthority(text: string): AuthorityArgument | undefined {
  const [host, file] = hostAndValue(text) ?? [undefined, text]
  return file === '' ? undefined : { host, file }
}

function parseClientCert(text: string): ClientCertArgument | undefined {
  const [host, files = ''] = hostAndValue(text) ?? []
  const [certFile = '', keyFile = certFile, ...more] = files.split(',')
  if (host === undefined || certFile === '' || keyFile === '' || more.length > 0) return undefined
  return { host, certFile, keyFile }
}

function parseMirror(text: string): MirrorArgument | undefined {
  const [host, place = ''] = hostAndValue(text) ?? []
  const [, mirror = '', path] = /^([^/]*)(?:\/(.*?)\/?)?$/.exec(place) ?? []
  if (host === undefined || !isRegistryHost(mirror)) return undefined
  return path === undefined || isRepository(path) ? { host, place: nameRegistry(place) } : undefined
}
