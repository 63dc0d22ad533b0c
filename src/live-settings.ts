import { isDeepStrictEqual } from 'node:util'
import { ConfigError } from './config/errors.ts'
import { loadSettings } from './config/load.ts'
import type { Settings } from './config/settings.ts'
import { getObject } from './kube/apply.ts'
import type { KubeClient } from './kube/client.ts'
import { systemClock } from './kube/clock.ts'
import { KubeApiError } from './kube/errors.ts'
import { ObjectWatch } from './kube/object-watch.ts'
import type { KubeObject, PodSpec, PodTemplateSpec } from './kube/types.ts'
import type { Part } from './lifecycle.ts'
import type { Logger } from './metrics/log.ts'

export interface LiveSettingsOptions {
  readonly client: KubeClient
  /** As they were read at the start. */
  readonly settings: Settings
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly readFile: (path: string) => string
  readonly log: Logger
}

/** What of a Deployment says where its variables come from. */
interface EnvSources {
  /** By precedence, the least first. */
  readonly maps: readonly { readonly name: string; readonly prefix: string }[]
  /** Variables that are set otherwise, and win. */
  readonly fixed: ReadonlySet<string>
}

type Deployment = KubeObject & { readonly spec?: { readonly template?: PodTemplateSpec } }
type ConfigMap = KubeObject & { readonly data?: Readonly<Record<string, string>> | null }

/**
 * The settings of the puller while kip runs: those of the start, and what the ConfigMaps say since that the Deployment
 * names in `envFrom`. What is wrong there is said and left out as a whole, and the last good ones stay.
 *
 * DaemonSet name, owner, and all that is no setting of the puller take effect at the next start, which is said too.
 */
export class LiveSettings {
  readonly #options: LiveSettingsOptions
  readonly #listeners = new Set<() => void>()
  /** Variables that came from ConfigMaps. */
  readonly #given = new Set<string>()
  #current: Settings
  #told = ''

  constructor(options: LiveSettingsOptions) {
    this.#options = options
    this.#current = options.settings
  }

  get current(): Settings {
    return this.#current
  }

  /** The settings as they are whenever they are looked at, for what looks at them when it begins. */
  view(): Settings {
    const current = (): Settings => this.#current
    return {
      ...this.#options.settings,
      get puller() {
        return current().puller
      },
    }
  }

  /**
   * A part that is ended and begun anew whenever the settings change.
   *
   * @param select what of them matters to it; default: all of the puller's
   */
  part(
    make: (settings: Settings) => Part,
    select: (settings: Settings) => unknown = ({ puller }) => puller,
  ): Part {
    return async (signal) => {
      for (;;) {
        const round = new AbortController()
        const begun = this.#current
        const onChange = (): void => {
          if (!isDeepStrictEqual(select(begun), select(this.#current))) round.abort()
        }
        this.#listeners.add(onChange)
        try {
          await make(begun)(AbortSignal.any([signal, round.signal]))
        } finally {
          this.#listeners.delete(onChange)
        }
        if (signal.aborted || !round.signal.aborted) return
      }
    }
  }

  /** Follows the ConfigMaps until the signal aborts; at once done where they may not be read. */
  async follow(signal: AbortSignal): Promise<void> {
    const { client, settings, log } = this.#options
    const { namespace } = settings
    const sources = await this.#sources(signal)
    if (sources === undefined || sources.maps.length === 0) return
    const resource = { group: '', version: 'v1', plural: 'configmaps', namespace }
    const watches = sources.maps.map(({ name, prefix }) => ({
      prefix,
      watch: new ObjectWatch<ConfigMap>({
        client,
        resource,
        name,
        project: (raw) => raw,
        onChange: () => this.#read(watches, sources.fixed),
        log,
        clock: systemClock,
      }),
    }))
    log.info({ configMaps: sources.maps.map(({ name }) => name) }, 'changes are taken live')
    await Promise.all(watches.map(({ watch }) => watch.run(signal)))
  }

  /** undefined: there is no Deployment, or it or a ConfigMap may not be read. */
  async #sources(signal: AbortSignal): Promise<EnvSources | undefined> {
    const { client, settings, log } = this.#options
    const { namespace, puller } = settings
    if (puller.deploymentName === '') return undefined
    try {
      const resource = { group: 'apps', version: 'v1', plural: 'deployments', namespace }
      const found = await getObject<Deployment>(client, resource, puller.deploymentName, { signal })
      const sources = sourcesOf(found?.spec?.template?.spec ?? {})
      const maps = { group: '', version: 'v1', plural: 'configmaps', namespace }
      for (const { name, prefix } of sources.maps) {
        const map = await getObject<ConfigMap>(client, maps, name, { signal })
        for (const key of Object.keys(map?.data ?? {})) {
          if (!sources.fixed.has(prefix + key)) this.#given.add(prefix + key)
        }
      }
      return sources
    } catch (error) {
      if (signal.aborted) return undefined
      const isRefused = error instanceof KubeApiError && error.status === 403
      if (isRefused) log.info({}, 'ConfigMaps may not be read; changes take effect at a restart')
      else
        log.warn({ err: error }, 'the ConfigMaps were not found; changes take effect at a restart')
      return undefined
    }
  }

  #read(
    watches: readonly { readonly prefix: string; readonly watch: ObjectWatch<ConfigMap> }[],
    fixed: ReadonlySet<string>,
  ): void {
    const { argv, env, readFile, log, settings } = this.#options
    // One that is not there would stop a start; here it changes nothing.
    if (watches.some(({ watch }) => watch.value === undefined)) return
    const given = watches.flatMap(({ prefix, watch }) =>
      Object.entries(watch.value?.data ?? {}).map(([key, value]) => [prefix + key, value] as const),
    )
    const free = given.filter(([name]) => !fixed.has(name))
    for (const [name] of free) this.#given.add(name)
    // What is no longer in the ConfigMaps is still in this process's environment.
    const own = Object.entries(env).filter(([name]) => !this.#given.has(name))
    const next = Object.fromEntries([...own, ...free])
    try {
      const { settings: read, warnings } = loadSettings({ argv, env: next, readFile })
      this.#take(read, settings)
      const text = warnings.join('\n')
      if (text === this.#told) return
      this.#told = text
      for (const warning of warnings) log.warn({}, warning)
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      for (const fault of error.faults) log.error({}, `the change is not taken: ${fault}`)
    }
  }

  #take(read: Settings, initial: Settings): void {
    const { log } = this.#options
    const { enabled, daemonSetName, deploymentName } = initial.puller
    const puller = { ...read.puller, enabled, daemonSetName, deploymentName }
    const later = laterKeys(initial, read)
    if (later.length > 0) log.warn({ settings: later }, 'these changes take effect at a restart')
    if (isDeepStrictEqual(puller, this.#current.puller)) return
    this.#current = { ...initial, puller }
    log.info({ images: puller.images.length }, 'settings of the puller changed')
    for (const listener of [...this.#listeners]) listener()
  }
}

/** Sections and settings that differ and are not taken live. */
function laterKeys(before: Settings, after: Settings): readonly string[] {
  const sections = (Object.keys(before) as (keyof Settings)[])
    .filter((key) => key !== 'puller')
    .filter((key) => !isDeepStrictEqual(before[key], after[key]))
  const own = (['enabled', 'daemonSetName', 'deploymentName'] as const)
    .filter((key) => before.puller[key] !== after.puller[key])
    .map((key) => `puller.${key}`)
  return [...sections, ...own]
}

function sourcesOf(spec: PodSpec): EnvSources {
  const containers = spec.containers ?? []
  return {
    maps: containers.flatMap(({ envFrom = [] }) =>
      envFrom.flatMap(({ prefix = '', configMapRef }) =>
        configMapRef?.name === undefined ? [] : [{ name: configMapRef.name, prefix }],
      ),
    ),
    fixed: new Set(containers.flatMap(({ env = [] }) => env.map(({ name }) => name))),
  }
}
