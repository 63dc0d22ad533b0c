import { access, readFile } from 'node:fs/promises'
import type { RequestOptions } from 'node:https'
import { delimiter, dirname, resolve } from 'node:path'
import type { KubeConfig } from '@kubernetes/client-node'
import { parse } from 'yaml'
import type { ClusterAccess, Credentials, TlsMaterial } from './access.ts'
import { KubeConfigError } from './errors.ts'
import { type OidcConfig, oidcTokens } from './oidc-tokens.ts'

/** Certificates and tokens that a kubeconfig names by file are looked at again after this time. */
const rereadMs = 60_000

/**
 * Access as a kubeconfig's current context says: tokens, token files, basic auth, client certificates, exec plugins, OIDC.
 *
 * Loads `@kubernetes/client-node` (about 1 s and 85 MB), and nothing else here does.
 *
 * @param paths - one path, or several as in `$KUBECONFIG`, merged as kubectl merges them
 */
export async function kubeconfigAccess(paths: string): Promise<ClusterAccess> {
  const files = await filesOf(paths)
  let config = await load(files)
  const cluster = config.getCurrentCluster()
  if (cluster === null) {
    throw new KubeConfigError(
      `kubeconfig ${paths}: the current context ${JSON.stringify(config.currentContext ?? '')} names no cluster in it`,
    )
  }
  if (!/^https?:$/.test(URL.parse(cluster.server)?.protocol ?? '')) {
    throw new KubeConfigError(
      `kubeconfig ${paths}: the server ${JSON.stringify(cluster.server)} of cluster ${cluster.name} is no URL of https or http`,
    )
  }
  const tokenFile = await findTokenFile(files, config.getCurrentUser()?.name)
  let oidcConfig = takeOidc(config)
  let oidc = oidcConfig && oidcTokens(oidcConfig, paths)
  let current: Credentials | undefined
  let readAt = 0
  let reading: Promise<Credentials> | undefined
  const read = async (refused: Credentials | undefined): Promise<Credentials> => {
    const options: RequestOptions = {}
    try {
      await config.applyToHTTPSOptions(options)
      if (oidc !== undefined) {
        const token = await oidc.token(refused?.headers.authorization?.slice('Bearer '.length))
        options.headers = { ...options.headers, authorization: `Bearer ${token}` }
      }
      if (tokenFile !== undefined) {
        const token = (await readFile(tokenFile, 'utf8')).trim()
        options.headers = { ...options.headers, authorization: `Bearer ${token}` }
      }
    } catch (error) {
      if (error instanceof KubeConfigError) throw error
      const detail = error instanceof Error ? error.message : String(error)
      throw new KubeConfigError(`kubeconfig ${paths}: no credentials: ${detail}`, { cause: error })
    }
    const next = credentialsOf(options)
    current = current !== undefined && isSame(current, next) ? current : next
    readAt = performance.now()
    return current
  }
  return {
    server: cluster.server.replace(/\/+$/, ''),
    ...(cluster.proxyUrl ? { proxyUrl: cluster.proxyUrl } : {}),
    namespace: config.getContextObject(config.currentContext)?.namespace ?? 'default',
    async credentials(refused) {
      if (current !== undefined && refused !== current && performance.now() - readAt < rereadMs) {
        return current
      }
      // What a plugin gave without a date of expiry is kept for ever by the library: begin anew.
      const isRefused = refused !== undefined && refused === current
      if (isRefused) {
        config = await load(files)
        const written = takeOidc(config)
        // Somebody has logged in anew; what was fetched since the last login is kept otherwise.
        if (JSON.stringify(written) !== JSON.stringify(oidcConfig)) {
          oidcConfig = written
          oidc = written && oidcTokens(written, paths)
        }
      }
      reading ??= read(isRefused ? refused : undefined).finally(() => {
        reading = undefined
      })
      return await reading
    },
  }
}

/** Takes from the current user what says how its tokens are refreshed, which is not left to the library. */
function takeOidc(config: KubeConfig): OidcConfig | undefined {
  const user = config.getCurrentUser()
  const provider: { readonly name?: unknown; readonly config?: OidcConfig } | undefined =
    user?.authProvider
  if (user === null || provider?.name !== 'oidc') return undefined
  Object.assign(user, { authProvider: undefined })
  return provider.config ?? {}
}

/** `tokenFile` of a user, which the library passes over; beside `token` the file counts. */
async function findTokenFile(
  files: readonly string[],
  user: string | undefined,
): Promise<string | undefined> {
  for (const path of files) {
    const config: { users?: { name?: string; user?: { tokenFile?: unknown } }[] } | null = parse(
      await readFile(path, 'utf8'),
    )
    const found = config?.users?.find(({ name }) => name === user)?.user
    if (found === undefined) continue
    return typeof found?.tokenFile === 'string'
      ? resolve(dirname(path), found.tokenFile)
      : undefined
  }
  return undefined
}

/** Of several files those that are there count. */
async function filesOf(paths: string): Promise<readonly string[]> {
  const files = paths.split(delimiter).filter((path) => path !== '')
  const isThere = await Promise.all(
    files.map((file) =>
      access(file).then(
        () => true,
        () => false,
      ),
    ),
  )
  return isThere.includes(true) ? files.filter((_, index) => isThere[index]) : files
}

async function load(files: readonly string[]): Promise<KubeConfig> {
  const library = await import('@kubernetes/client-node')
  const config = new library.KubeConfig()
  for (const [index, file] of files.entries()) {
    try {
      if (index === 0) config.loadFromFile(file)
      else {
        const part = new library.KubeConfig()
        part.loadFromFile(file)
        merge(config, part)
      }
    } catch (error) {
      const detail = error instanceof Error ? error.message : String(error)
      throw new KubeConfigError(`kubeconfig ${file}: ${detail}`, { cause: error })
    }
  }
  return config
}

/** What an earlier file says counts; the library would take the later current context, and refuse a name that comes twice. */
function merge(config: KubeConfig, part: KubeConfig): void {
  const isNew =
    (known: readonly { readonly name: string }[]) =>
    ({ name }: { readonly name: string }): boolean =>
      known.every((one) => one.name !== name)
  for (const cluster of part.clusters.filter(isNew(config.clusters))) config.addCluster(cluster)
  for (const user of part.users.filter(isNew(config.users))) config.addUser(user)
  for (const context of part.contexts.filter(isNew(config.contexts))) config.addContext(context)
  if (!config.currentContext) config.setCurrentContext(part.currentContext)
}

function credentialsOf(options: RequestOptions): Credentials {
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(options.headers ?? {})) {
    if (value !== undefined) headers[name.toLowerCase()] = String(value)
  }
  if (options.auth) {
    headers.authorization = `Basic ${Buffer.from(options.auth).toString('base64')}`
  }
  const tls: TlsMaterial = {
    ...pem('ca', options.ca),
    ...pem('cert', options.cert),
    ...pem('key', options.key),
    ...(options.servername ? { serverName: options.servername } : {}),
    ...(options.rejectUnauthorized === false ? { insecure: true } : {}),
  }
  return { headers, tls }
}

function pem<K extends string>(name: K, value: unknown): { [P in K]?: string | Buffer } {
  const empty: { [P in K]?: string | Buffer } = {}
  if (typeof value !== 'string' && !Buffer.isBuffer(value)) return empty
  return { ...empty, [name]: value }
}

function isSame(a: Credentials, b: Credentials): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
