import type { SecureContext } from 'node:tls'

/** Where requests go, and as whom: what one connection may be shared for. */
export interface Origin {
  readonly scheme: 'http' | 'https'
  /** Name or address, IPv6 without brackets. */
  readonly hostname: string
  readonly port: number
  /** Trust and client certificate; unset under `http`. */
  readonly tls?: TlsIdentity | undefined
  readonly proxy?: ProxyServer | undefined
}

/** A TLS configuration made once and named, so that connections of different identity are never mixed. */
export interface TlsIdentity {
  readonly key: string
  readonly context: () => SecureContext
}

/** A forward proxy (RFC 9110 §9.3.6) that was chosen by whoever runs the program. */
export interface ProxyServer {
  readonly scheme: 'http' | 'https'
  readonly hostname: string
  readonly port: number
  /** Trust for a proxy that is spoken to by TLS; default: Node's own. */
  readonly tls?: TlsIdentity | undefined
  /** Value of Proxy-Authorization. */
  readonly authorization?: string | undefined
}

/** `host[:port]` as it stands in a Host header; the port is left out where it is the scheme's own. */
export function hostOf(origin: Pick<Origin, 'scheme' | 'hostname' | 'port'>): string {
  const name = origin.hostname.includes(':') ? `[${origin.hostname}]` : origin.hostname
  return origin.port === (origin.scheme === 'https' ? 443 : 80) ? name : `${name}:${origin.port}`
}

/** Names everything that a connection depends on. */
export function originKey(origin: Origin): string {
  const proxy = origin.proxy
  // No host, port or key holds a space.
  const own = `${origin.scheme} ${origin.hostname} ${origin.port} ${origin.tls?.key ?? ''}`
  if (proxy === undefined) return own
  return `${own} ${proxy.scheme} ${proxy.hostname} ${proxy.port} ${proxy.authorization ?? ''}`
}

/** Whether two URLs are of one scheme, host and port. */
export function sameOrigin(a: URL, b: URL): boolean {
  return a.protocol === b.protocol && a.host === b.host
}
