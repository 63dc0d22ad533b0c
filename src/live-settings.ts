import { isDeepStrictEqual } from 'node:util'
import { ConfigError } from './config/errors.ts'
import { loadSettings } from './config/load.ts'
import type { Settings } from './config/settings.ts'
import { getObject } from './kube/apply.ts'
import type { KubeClient } from './kube/client.ts'
import { type Clock, systemClock } from './kube/clock.ts'
import type { Doubt } from './kube/doubt.ts'
import { Listeners } from './kube/listeners.ts'
import { ObjectWatch } from './kube/object-watch.ts'
import { resourceOf } from './kube/resource.ts'
import type { ConfigMap, Workload } from './kube/types.ts'
import { untilAborted } from './kube/until-aborted.ts'
import { untilAnswered } from './kube/until-answered.ts'
import type { Part } from './lifecycle.ts'
import type { Logger } from './metrics/log.ts'
import { type EnvSources, type MapSource, sourcesOf } from './state/env-sources.ts'

export interface LiveSettingsOptions {
  readonly client: KubeClient
  readonly doubt: Doubt
  /** As they were read at the start. */
  readonly settings: Settings
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  readonly readFile: (path: string) => string
  readonly log: Logger
  readonly clock?: Clock
}

interface FollowedMap extends MapSource {
  readonly watch: ObjectWatch<ConfigMap>
}

/**
 * For how long the first read is waited for: a question that nobody answers, and another. What a replica started with was the
 * newest then, and images that nobody holds would be worse than settings of that age.
 */
const firstReadMs = 60_000

/**
 * The settings of the puller while kip runs: those of the start, and what the ConfigMaps say since that the Deployment
 * names in `envFrom`. What is wrong there is said and left out as a whole, and the last good ones stay.
 *
 * Every replica follows, also while another leads: a new leader that had to begin with the settings of its own start would
 * undo what was changed since. It would not even see that a variable is gone from a ConfigMap, since it is still in its own
 * environment.
 *
 * DaemonSet name, owner, and all that is no setting of the puller take effect at the next start, which is said too.
 */
export class LiveSettings {
  readonly #options: LiveSettingsOptions
  readonly #changes = new Listeners()
  /** Variables that came from ConfigMaps. */
  readonly #given = new Set<string>()
  /** Resolves when the ConfigMaps were read for the first time, or are not waited for any longer. */
  readonly #inStep = Promise.withResolvers<void>()
  #current: Settings
  /** What was read last, and has been told of. */
  #seen: object = {}

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
   * A part that begins when the ConfigMaps were read, and is ended and begun anew whenever the settings change.
   *
   * @param select what of them matters to it; default: all of the puller's
   */
  part(
    make: (settings: Settings) => Part,
    select: (settings: Settings) => unknown = ({ puller }) => puller,
  ): Part {
    return async (signal) => {
      await Promise.race([this.#inStep.promise, untilAborted(signal)])
      while (!signal.aborted) {
        const round = new AbortController()
        const begun = this.#current
        const onChange = (): void => {
          if (!isDeepStrictEqual(select(begun), select(this.#current))) round.abort()
        }
        const stop = this.#changes.add(onChange)
        try {
          await make(begun)(AbortSignal.any([signal, round.signal]))
        } finally {
          stop()
        }
        if (!round.signal.aborted) return
      }
    }
  }

  /** Follows the ConfigMaps until the signal aborts; at once done where they may not be read. */
  async follow(signal: AbortSignal): Promise<void> {
    const { log, clock = systemClock } = this.#options
    const begin = (): void => {
      stopWaiting()
      this.#inStep.resolve()
    }
    const stopWaiting = clock.timer(() => {
      log.warn({}, 'the ConfigMaps do not answer; the settings of the start hold until they do')
      begin()
    }, firstReadMs)
    try {
      const sources = await this.#sources(signal)
      if (sources !== undefined && sources.maps.length > 0) {
        await this.#watch(sources, begin, signal)
      }
    } finally {
      begin()
    }
  }

  /** @param begin called when all have been read once, or when one may not be: a wait for it would be for nothing */
  async #watch({ maps, fixed }: EnvSources, begin: () => void, signal: AbortSignal): Promise<void> {
    const { client, settings, log, clock = systemClock } = this.#options
    const { namespace } = settings
    const resource = resourceOf('configmaps', namespace)
    let isRead = false
    let isRefused = false
    const onChange = (): void => {
      if (isRead) this.#read(followed, fixed)
    }
    const onRefused = (): void => {
      if (isRead || isRefused) return
      isRefused = true
      log.warn({}, 'ConfigMaps may not be watched; the settings of the start hold until they may')
      begin()
    }
    const followed: readonly FollowedMap[] = maps.map((map) => ({
      ...map,
      watch: new ObjectWatch<ConfigMap>({
        ...{ client, resource, name: map.name, log, clock, onChange, onRefused },
        project: (raw) => raw,
      }),
    }))
    const firstRead = Promise.all(followed.map(({ watch }) => watch.synced)).then(() => {
      isRead = true
      onChange()
      begin()
    })
    log.info({ configMaps: maps.map(({ name }) => name) }, 'changes are taken live')
    await Promise.all([
      Promise.race([firstRead, untilAborted(signal)]),
      ...followed.map(({ watch }) => watch.run(signal)),
    ])
  }

  /** Asks until it is answered. undefined: there is no Deployment, or it or a ConfigMap may not be read. */
  async #sources(signal: AbortSignal): Promise<EnvSources | undefined> {
    const { settings, doubt, log, clock = systemClock } = this.#options
    const { deploymentName } = settings.puller
    if (deploymentName === '') return undefined
    const read = (): Promise<EnvSources> => this.#readSources(deploymentName, signal)
    const ask = (): Promise<EnvSources | undefined> =>
      doubt.unlessForbidden(read, undefined, signal)
    const complaint = 'the ConfigMaps could not be read, trying again'
    const sources = await untilAnswered(ask, { log, clock, complaint }, signal)
    if (sources === undefined && !signal.aborted)
      log.info({}, 'ConfigMaps may not be read; changes take effect at a restart')
    return sources
  }

  async #readSources(deploymentName: string, signal: AbortSignal): Promise<EnvSources> {
    const { client, settings } = this.#options
    const { namespace } = settings
    const deployments = resourceOf('deployments', namespace)
    const found = await getObject<Workload>(client, deployments, deploymentName, { signal })
    const sources = sourcesOf(found?.spec?.template?.spec ?? {})
    const maps = resourceOf('configmaps', namespace)
    for (const { name, prefix } of sources.maps) {
      const map = await getObject<ConfigMap>(client, maps, name, { signal })
      for (const key of Object.keys(map?.data ?? {})) {
        if (!sources.fixed.has(prefix + key)) this.#given.add(prefix + key)
      }
    }
    return sources
  }

  #read(followed: readonly FollowedMap[], fixed: ReadonlySet<string>): void {
    const { argv, env, readFile, log, settings } = this.#options
    const given = followed.flatMap(({ prefix, watch }) =>
      Object.entries(watch.value?.data ?? {}).map(([key, value]) => [prefix + key, value] as const),
    )
    const free = given.filter(([name]) => !fixed.has(name))
    for (const [name] of free) this.#given.add(name)
    // What is no longer in the ConfigMaps is still in this process's environment.
    const own = Object.entries(env).filter(([name]) => !this.#given.has(name))
    const next = Object.fromEntries([...own, ...free])
    const missing = followed
      .filter(({ isOptional, watch }) => !isOptional && !watch.value)
      .map(({ name }) => name)
    // Every watch ends after some minutes, and the next one begins with what is known.
    if (isDeepStrictEqual({ missing, next }, this.#seen)) return
    this.#seen = { missing, next }
    if (missing.length > 0) {
      // A start would wait for them; here all stays as it is.
      const text = 'ConfigMaps are missing; no change is taken until they are there'
      log.warn({ configMaps: missing }, text)
      return
    }
    try {
      const { settings: read, warnings } = loadSettings({ argv, env: next, readFile })
      this.#take(read, settings)
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
    this.#changes.tell()
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
