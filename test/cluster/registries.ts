import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Image } from './images/image.ts'
import { ensurePackages } from './packages.ts'
import type { Authority } from './pki.ts'
import type { AddressPlan } from './plan.ts'
import type { Daemons } from './process.ts'
import type { Report } from './progress.ts'
import {
  type AccessLogEntry,
  type AccessLogMark,
  accessLogEnd,
  readAccessLog,
} from './registry/access-log.ts'
import { TestRegistryClient } from './registry/client.ts'
import { registryConfig } from './registry/config.ts'
import { isElsewhere, NamespaceDialer } from './registry/dialer.ts'
import type { Trouble, TroubledServerOptions } from './registry/troubled-server.ts'
import { type RegistryHost, type RegistryName, registryHosts } from './registry-hosts.ts'
import { together } from './together.ts'

export interface RegistriesOptions {
  /** The cluster's folder; the registries keep their images, certificates and configuration in `registries/` there. */
  readonly folder: string
  readonly addresses: AddressPlan
  readonly authority: Authority
  readonly daemons: Daemons
  /** A process in the control plane's namespace, where the registries run; none when they run on the machine's loopback. */
  readonly holder?: number
  /** Start of a command line that runs the rest there. */
  readonly enter?: readonly string[]
}

/** One of the cluster's registries: a real one (Debian's docker-registry) under a name that nodes, pods and tests resolve. */
export interface Registry {
  readonly name: RegistryName
  /** `origin.test:5000`: the registry part of image references. */
  readonly host: string
  /** `https://origin.test:5000` */
  readonly url: string
  readonly address: string
  readonly port: number
  /** PEM file of the authority that its certificate is under; undefined for plain http. */
  readonly authorityFile: string | undefined
  /** Fills it and looks at what it holds. Works from the machine too, where the names do not resolve. */
  readonly client: TestRegistryClient
  /** Starts it, or leaves it running; returns when it answers. What it held is still there. */
  start(options?: { readonly signal?: AbortSignal }): Promise<void>
  /** Ends its process: nobody listens on its port. */
  stop(): Promise<void>
  isRunning(): boolean
  /**
   * Makes trouble for chosen requests: latency, other answers, bodies cut or altered. It is begun anew for that, and when
   * the trouble is disposed of; in between every request in its log comes from its own address.
   */
  trouble(troubles: readonly Trouble[]): Promise<AsyncDisposable>
  /** @returns the reference by tag and digest: `origin.test:5000/nginx:1@sha256:…` */
  push(image: Image, repository: string, tag: string): Promise<string>
  tags(repository: string): Promise<readonly string[]>
  /** The digest that a tag points at; undefined when there is no such tag. */
  digest(repository: string, tag: string): Promise<string | undefined>
  /** Deletes a manifest and every tag that points at it. */
  deleteImage(repository: string, tagOrDigest: string): Promise<void>
  /** Points a tag at another manifest of the repository. */
  retag(repository: string, tag: string, digest: string): Promise<void>
  /** Requests that it answered, oldest first; the line of a request may come a moment after its answer. */
  accessLog(since?: AccessLogMark | Date): Promise<readonly AccessLogEntry[]>
  /** For `accessLog`: what is asked from now on. */
  accessLogEnd(): Promise<AccessLogMark>
}

export type Registries = Readonly<Record<RegistryName, Registry>> & {
  /** Lets go of connections; the registries run on. */
  close(): Promise<void>
}

/** Connections to one registry at a time; a push uses half of them. */
const CONNECTIONS = 8

/** docker-registry answers in a fraction of a second on an idle machine. */
const START_TIMEOUT_MS = 20_000

/** The registries of a cluster, whether they run or not; starts nothing. */
export function openRegistries(options: RegistriesOptions): Registries {
  const { holder, addresses } = options
  const dialer =
    holder !== undefined && isElsewhere(holder) ? new NamespaceDialer(holder) : undefined
  const open = registryHosts(addresses).map((host) => openRegistry(host, options, dialer))
  const close = async (): Promise<void> => {
    await Promise.all(open.map(({ client }) => client.close()))
    dialer?.close()
  }
  const byName = Object.fromEntries(open.map((registry) => [registry.name, registry]))
  return { ...(byName as Record<RegistryName, Registry>), close }
}

/**
 * Starts all registries of a cluster.
 *
 * @throws ClusterError (KIP_CLUSTER_PREREQUISITE) when Debian's docker-registry is missing and cannot be installed
 */
export async function startRegistries(
  registries: Registries,
  options: { readonly report: Report; readonly signal?: AbortSignal },
): Promise<void> {
  await ensurePackages(['docker-registry'], options)
  const { origin, backup, plain } = registries
  await together(
    options.signal,
    [origin, backup, plain].map((registry) => (signal) => registry.start({ signal })),
  )
}

/** Name of a registry's daemon: its record and its log. */
export function registryDaemon(name: RegistryName): string {
  return `registry-${name}`
}

/** Where a registry listens while something else has its port. */
const PORT_BEHIND = 1000

function openRegistry(
  place: RegistryHost,
  options: RegistriesOptions,
  dialer: NamespaceDialer | undefined,
): Registry {
  const { daemons, authority } = options
  const daemon = registryDaemon(place.name)
  const secure = place.scheme === 'https'
  const url = `${place.scheme}://${place.host}`
  const trust = secure && { authority: authority.certificate }
  const { address } = place
  const dispatcher = dialer?.dispatcher({ address, connections: CONNECTIONS, ...trust })
  const client = new TestRegistryClient({
    url,
    address,
    ...trust,
    ...(dispatcher && { dispatcher }),
  })
  const log = daemons.logFile(daemon)
  const troubled = `${daemon}-trouble`
  const enter = options.enter ?? []
  const stop = async (): Promise<void> => {
    await daemons.stop(troubled)
    await daemons.stop(daemon)
  }
  const answering = async (
    needs: readonly [string, ...string[]],
    signal?: AbortSignal,
  ): Promise<void> => {
    await daemons.waitUntil({
      what: `answer from ${url}`,
      needs,
      check: () => client.answers(signal),
      timeoutMs: START_TIMEOUT_MS,
      ...(signal && { signal }),
    })
  }
  const serve = async (port: number): Promise<void> => {
    const config = await writeConfig(place, options, port)
    const [program, ...args] = [...enter, 'docker-registry', 'serve', config] as const
    await daemons.start({ name: daemon, command: [program ?? '', ...args] })
  }
  const start = async ({ signal }: { readonly signal?: AbortSignal } = {}): Promise<void> => {
    if (await daemons.stop(troubled)) await daemons.stop(daemon)
    await serve(place.port)
    await answering([daemon], signal)
  }
  return {
    ...{ name: place.name, host: place.host, url, address, port: place.port, client },
    authorityFile: secure ? authority.certificateFile : undefined,
    start,
    stop,
    trouble: async (troubles) => {
      await stop()
      const behind = place.port + PORT_BEHIND
      await serve(behind)
      const config = await writeTrouble(place, options, { behind, troubles })
      const main = fileURLToPath(new URL('registry/troubled-main.ts', import.meta.url))
      const [program, ...args] = [...enter, process.execPath, main, config] as const
      await daemons.start({ name: troubled, command: [program ?? '', ...args] })
      await answering([daemon, troubled])
      return { [Symbol.asyncDispose]: start }
    },
    isRunning: () => daemons.isRunning(daemon),
    push: async (image, repository, tag) =>
      `${place.host}/${repository}:${tag}@${await client.push(image, repository, tag)}`,
    tags: (repository) => client.tags(repository),
    digest: async (repository, tag) => (await client.manifest(repository, tag))?.digest,
    deleteImage: (repository, reference) => client.deleteImage(repository, reference),
    retag: (repository, tag, digest) => client.retag(repository, tag, digest),
    accessLog: (since) => readAccessLog(log, since),
    accessLogEnd: () => accessLogEnd(log),
  }
}

function fileOf(place: RegistryHost, { folder }: RegistriesOptions, name: string): string {
  return join(folder, 'registries', place.name, name)
}

async function writeTrouble(
  place: RegistryHost,
  options: RegistriesOptions,
  { behind, troubles }: { readonly behind: number; readonly troubles: readonly Trouble[] },
): Promise<string> {
  const read = (name: string): Promise<string> => readFile(fileOf(place, options, name), 'utf8')
  const config: TroubledServerOptions = {
    listen: { host: place.address, port: place.port },
    upstream: { host: place.address, port: behind },
    ...(place.scheme === 'https' && {
      tls: { cert: await read('tls.crt'), key: await read('tls.key') },
    }),
    troubles,
  }
  const path = fileOf(place, options, 'trouble.json')
  await writeFile(path, JSON.stringify(config), { mode: 0o600 })
  return path
}

async function writeConfig(
  place: RegistryHost,
  options: RegistriesOptions,
  port: number,
): Promise<string> {
  const file = (name: string): string => fileOf(place, options, name)
  await mkdir(join(options.folder, 'registries', place.name), { recursive: true })
  const tls = { certificateFile: file('tls.crt'), keyFile: file('tls.key') }
  const secure = place.scheme === 'https'
  if (secure && !existsSync(tls.certificateFile)) {
    const hosts = [place.domain, place.address]
    const issued = await options.authority.issue({ commonName: place.domain, hosts })
    await writeFile(tls.keyFile, issued.key, { mode: 0o600 })
    await writeFile(tls.certificateFile, issued.certificate)
  }
  const config = registryConfig({
    listen: `${place.address}:${port}`,
    storageFolder: file('storage'),
    quiet: true,
    ...(secure && { tls }),
  })
  await writeFile(file('config.yml'), config)
  return file('config.yml')
}
