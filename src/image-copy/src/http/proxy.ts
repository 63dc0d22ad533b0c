import { BlockList, isIP } from 'node:net'
import type { ProxyServer } from './origin.ts'

/** Chooses the proxy for a URL; undefined: none. */
export type ProxyChoice = (target: URL) => string | undefined

/** The variables by which proxies are commonly set, in either case; values as in the environment. */
export interface ProxyVariables {
  readonly HTTP_PROXY?: string | undefined
  readonly HTTPS_PROXY?: string | undefined
  readonly ALL_PROXY?: string | undefined
  readonly NO_PROXY?: string | undefined
  readonly http_proxy?: string | undefined
  readonly https_proxy?: string | undefined
  readonly all_proxy?: string | undefined
  readonly no_proxy?: string | undefined
}

/**
 * Makes a choice of proxies from variables as in an environment, by the rules of Go's net/http, which other registry tools
 * follow: NO_PROXY holds `*`, hosts (themselves and what is below them), `.domain` (only below), addresses, networks and
 * ports; loopback is never proxied. As in curl, and not in Go, lower case wins where both are set, and ALL_PROXY stands in for
 * what is not. The choice throws a TypeError that names the variable when its value is no proxy that can be used.
 */
export function proxyFromVariables(variables: ProxyVariables): ProxyChoice {
  const all = ['all_proxy', 'ALL_PROXY'] as const
  const httpProxy = firstOf(variables, ['http_proxy', 'HTTP_PROXY', ...all])
  const httpsProxy = firstOf(variables, ['https_proxy', 'HTTPS_PROXY', ...all])
  const exceptions = (variables.no_proxy || variables.NO_PROXY || '')
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== '')
  return (target) => {
    const host = target.hostname.replace(/^\[|\]$/g, '').toLowerCase()
    if (host === 'localhost' || inNetwork(host, '127.0.0.0', 8) || inNetwork(host, '::1', 128))
      return undefined
    const port = target.port || (target.protocol === 'https:' ? '443' : '80')
    if (exceptions.some((entry) => excepts(entry, host, port))) return undefined
    return (target.protocol === 'https:' ? httpsProxy : httpProxy)?.()
  }
}

/** Gives the value of the first variable that is set, once it was found to be usable. */
function firstOf(
  variables: ProxyVariables,
  names: readonly (keyof ProxyVariables)[],
): (() => string) | undefined {
  const name = names.find((name) => variables[name])
  const value = name === undefined ? undefined : variables[name]
  if (value === undefined) return undefined
  return () => {
    try {
      parseProxy(value)
      return value
    } catch (error) {
      throw new TypeError(`${name}: ${error instanceof Error ? error.message : error}`)
    }
  }
}

/** Reads a proxy URL. @throws TypeError, never holding the URL's password */
export function parseProxy(text: string): ProxyServer {
  const url = text.includes('://') ? text : `http://${text}`
  if (!URL.canParse(url)) throw new TypeError('the proxy is no URL; write http://host:port')
  const { protocol, hostname, port, username, password } = new URL(url)
  if (protocol !== 'http:' && protocol !== 'https:') {
    throw new TypeError(`proxies of kind ${protocol}// are not supported; use http:// or https://`)
  }
  const scheme = protocol === 'https:' ? 'https' : 'http'
  const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return {
    scheme,
    hostname: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || (scheme === 'https' ? 443 : 80)),
    ...(username === '' ? {} : { authorization: `Basic ${Buffer.from(user).toString('base64')}` }),
  }
}

function excepts(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true
  const cidr = /^([^/]+)\/(\d+)$/.exec(entry)
  if (cidr !== null) return inNetwork(host, cidr[1] ?? '', Number(cidr[2]))
  const bracketed = /^\[(.+)\](?::(\d+))?$/.exec(entry)
  const withPort = bracketed ?? (isIP(entry) === 6 ? null : /^(.+):(\d+)$/.exec(entry))
  const name = bracketed?.[1] ?? withPort?.[1] ?? entry
  const wanted = bracketed?.[2] ?? (bracketed === null ? withPort?.[2] : undefined)
  if (wanted !== undefined && wanted !== port) return false
  if (isIP(host) > 0) return inNetwork(host, name, isIP(name) === 4 ? 32 : 128)
  if (name.startsWith('*.')) return host.endsWith(name.slice(1))
  if (name.startsWith('.')) return host.endsWith(name)
  return host === name || host.endsWith(`.${name}`)
}

/** An IPv4 address may be written as IPv6; a network of IPv6 holds none. False for what is no address. */
function inNetwork(host: string, network: string, bits: number): boolean {
  if (isIP(network) === 0 || isIP(network) > isIP(host)) return false
  if (bits > (isIP(network) === 4 ? 32 : 128)) return false
  const list = new BlockList()
  list.addSubnet(network, bits, familyOf(network))
  return list.check(host, familyOf(host))
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIP(address) === 4 ? 'ipv4' : 'ipv6'
}
