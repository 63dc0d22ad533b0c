import {
  type AllowAddress,
  addressPolicy,
  type Counters,
  type Credential,
  CredentialConfigError,
  createKeyring,
  createRegistryClient,
  parseDockerConfig,
  type RegistryClient,
  serverOf,
} from '@containers/image-copy'
import { passwordIn } from './config/password-file.ts'
import type { Settings } from './config/settings.ts'

export interface RegistriesOptions {
  readonly settings: Pick<Settings, 'mirror' | 'registries'>
  /** Trusted besides the system's, in PEM; empty: none. */
  readonly authorities: string
  readonly readFile: (path: string) => string
  /** Addresses and networks of the cluster itself, which nobody who names an image may have kip dial. */
  readonly clusterNetworks: readonly string[]
  readonly userAgent: string
  /** Show the configured credentials to the backup; default: to nobody, as for looking at sources. */
  readonly writeBackup?: boolean
}

/**
 * Makes the one registry client of a process: anonymous at sources, with the configured credentials at the backup.
 *
 * Whoever may create a pod chooses a host that is dialled, so loopback, link-local and the cluster's own networks are
 * refused, unless the host is the backup or stands in `registries.allow`.
 */
export function createRegistries(options: RegistriesOptions): RegistryClient {
  const { registries, mirror } = options.settings
  const backup = backupHost(mirror.registry)
  const plain = new Set(registries.http)
  const credentials = options.writeBackup ? backupCredentials(options, backup) : anonymous
  return createRegistryClient({
    hosts: (host) => ({ http: plain.has(host), trustedRealms: registries.trustedRealms }),
    ...(options.authorities !== '' && { ca: options.authorities }),
    // Sources are asked as anybody: what only some may read must not reach a backup that others read.
    credentials: async (host, repository) =>
      host === backup ? await credentials(host, repository) : [],
    allowAddress: addressRule(options, backup),
    // A look comes again by itself, when the source asks for it: it must not end before it knows what to say.
    ...(options.writeBackup ? {} : { retry: { attempts: 2, maxRetryAfterMs: 5000 } }),
    userAgent: options.userAgent,
  })
}

/** Often enough for whoever collects metrics, twice a minute or so. */
const TELL_EVERY_MS = 10_000

/**
 * Tells what a client counted from time to time.
 *
 * @returns tells it once more, and no more after that
 */
export function keepTelling(
  client: RegistryClient,
  tell: (counters: Counters) => void,
): () => void {
  const timer = setInterval(() => tell(client.counters()), TELL_EVERY_MS).unref()
  return () => {
    clearInterval(timer)
    tell(client.counters())
  }
}

const anonymous = async (): Promise<readonly Credential[]> => []

/** Host of the backup registry; empty where there is none. */
function backupHost(registry: string): string {
  return registry.split('/', 1)[0] ?? ''
}

function addressRule(
  { settings, clusterNetworks }: RegistriesOptions,
  backup: string,
): AllowAddress {
  const { allow, http } = settings.registries
  const hosts = backup === '' ? allow : [...allow, backup]
  const trusted = new Set(hosts.map((host) => serverOf(host, http.includes(host)).host))
  const forTrusted = addressPolicy({ allowLoopback: 'registry', allowPrivate: 'registry' })
  const forOthers = addressPolicy({ allowPrivate: 'registry', refuse: clusterNetworks })
  return (address, host, purpose) => {
    if (trusted.has(purpose.registry)) return forTrusted(address, host, purpose)
    return allow.length === 0 && forOthers(address, host, purpose)
  }
}

function backupCredentials(
  { settings, readFile }: RegistriesOptions,
  backup: string,
): (host: string, repository: string) => Promise<readonly Credential[]> {
  // Files are read at each question: a mounted Secret changes under the running program.
  const { user, password, passwordFile } = settings.mirror
  if (backup !== '' && user !== '') {
    const current = (): string =>
      passwordFile === '' ? password : readPassword(passwordFile, readFile)
    return async () => [{ username: user, password: current() }]
  }
  const { credentialsFile } = settings.registries
  if (credentialsFile === '') return anonymous
  return async (host, repository) =>
    createKeyring([parseDockerConfig(readFile(credentialsFile))]).lookup(host, repository)
}

function readPassword(path: string, readFile: RegistriesOptions['readFile']): string {
  const password = passwordIn(readFile(path))
  if (password === '') throw new CredentialConfigError(`mirror.passwordFile: ${path} is empty`)
  return password
}
