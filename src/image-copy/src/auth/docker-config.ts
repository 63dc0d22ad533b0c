import { CredentialConfigError, printable } from '../errors.ts'
import type { Credential } from './credential.ts'

/** What a docker configuration says about credentials. */
export interface DockerConfig {
  /** In the order written; the key is a host or a host with a path, as it stands in the file. */
  readonly entries: readonly { readonly key: string; readonly credential: Credential }[]
  /** Registry host to helper name (`docker-credential-<name>`). */
  readonly credHelpers: Readonly<Record<string, string>>
  /** Helper for every other host. */
  readonly credsStore?: string | undefined
}

/** 4 MiB: far above any real configuration, Secrets included (1 MiB). */
const maxConfigBytes = 4 * 1024 * 1024

/**
 * Reads `config.json` of docker, `auth.json` of podman, and the bytes of `kubernetes.io/dockerconfigjson` and
 * `kubernetes.io/dockercfg` Secrets (the latter has the hosts at the top level).
 *
 * Entries without any credential (as `docker login` leaves with a helper) are passed over.
 *
 * @throws CredentialConfigError naming the entry, never its content
 */
export function parseDockerConfig(text: string | Uint8Array): DockerConfig {
  if (text.length > maxConfigBytes)
    throw new CredentialConfigError('docker configuration: larger than 4 MiB')
  let root: unknown
  try {
    root = JSON.parse(typeof text === 'string' ? text : new TextDecoder().decode(text))
  } catch {
    // The parser's message quotes the text, and the text holds passwords.
    throw new CredentialConfigError('docker configuration: not JSON')
  }
  if (!isRecord(root)) throw new CredentialConfigError('docker configuration: not a JSON object')
  const isConfig = ['auths', 'credHelpers', 'credsStore'].some((key) => Object.hasOwn(root, key))
  const auths = isConfig ? (root.auths ?? {}) : root
  if (!isRecord(auths))
    throw new CredentialConfigError('docker configuration: auths is not an object')
  const entries = Object.entries(auths).flatMap(([key, value]) => {
    const credential = readEntry(key, value, isConfig)
    return credential === undefined ? [] : [{ key, credential }]
  })
  const credHelpers = isConfig ? readHelpers(root.credHelpers) : {}
  const credsStore = isConfig ? root.credsStore : undefined
  if (credsStore !== undefined && typeof credsStore !== 'string') {
    throw new CredentialConfigError('docker configuration: credsStore is no string')
  }
  return { entries, credHelpers, ...(credsStore ? { credsStore } : {}) }
}

function readEntry(key: string, value: unknown, strict: boolean): Credential | undefined {
  const where = `docker configuration: auths["${printable(key, 100)}"]`
  if (!isRecord(value)) {
    if (!strict) return undefined
    throw new CredentialConfigError(`${where} is not an object`)
  }
  const text = (name: string): string => {
    const field = value[name]
    if (field === undefined || field === null) return ''
    if (typeof field !== 'string') throw new CredentialConfigError(`${where}.${name} is no string`)
    return field
  }
  const identityToken = text('identitytoken')
  if (identityToken !== '') return { identityToken }
  const registryToken = text('registrytoken')
  if (registryToken !== '') return { registryToken }
  let username = text('username')
  let password = text('password')
  const auth = text('auth')
  if (auth !== '') {
    const decoded = decodeAuth(auth)
    if (decoded === undefined)
      throw new CredentialConfigError(`${where}.auth is not base64 of user:password`)
    username = decoded.username
    password = decoded.password
  }
  if (username === '' && password === '') return undefined
  return { username, password }
}

function decodeAuth(auth: string): { username: string; password: string } | undefined {
  // Line breaks, with which base64 wraps what is long, are skipped by docker and the kubelet too.
  const base64 = auth.replace(/[\r\n]/g, '').trim()
  if (!/^[A-Za-z0-9+/_-]+={0,2}$/.test(base64)) return undefined
  const text = Buffer.from(base64, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  if (colon < 0) return undefined
  // docker has written a trailing NUL in some versions.
  return { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/\0+$/, '') }
}

function readHelpers(value: unknown): Record<string, string> {
  if (value === undefined || value === null) return {}
  if (!isRecord(value))
    throw new CredentialConfigError('docker configuration: credHelpers is not an object')
  const helpers: [string, string][] = Object.entries(value).map(([host, helper]) => {
    if (typeof helper !== 'string') {
      throw new CredentialConfigError(
        `docker configuration: credHelpers["${printable(host, 100)}"] is no string`,
      )
    }
    return [host, helper]
  })
  return Object.fromEntries(helpers)
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
