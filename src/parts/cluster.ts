import { hostname } from 'node:os'
import { removeWebhookConfiguration } from '../admission/configuration-keeper.ts'
import { createAuthorities } from '../authorities.ts'
import { clusterNetworks } from '../cluster-networks.ts'
import { decide } from '../decide/decide.ts'
import { createDiscovery } from '../discovery/discovery.ts'
import { createMapping, type Mapping } from '../images/mapping.ts'
import { createEventRecorder } from '../kube/events.ts'
import { Listeners } from '../kube/listeners.ts'
import type { Pod } from '../kube/types.ts'
import { untilAborted } from '../kube/until-aborted.ts'
import type { Part, Parts } from '../lifecycle.ts'
import { type RegistryCounts, registryFamily } from '../metrics/registry-metrics.ts'
import { type MirrorOptions, runMirror } from '../mirror/mirror.ts'
import { keepMirrorProcess } from '../mirror/process.ts'
import { asksUsers } from '../puller/where-rules.ts'
import { createRegistries, keepTelling } from '../registries.ts'
import { createResolver } from '../resolver/resolver.ts'
import { createClusterStore } from '../state/cluster-store.ts'
import { createExclusions } from '../state/exclusions.ts'
import type { ImageStore } from '../state/store.ts'
import { admissionParts } from './admission.ts'
import type { Context } from './context.ts'
import { pullerPart } from './puller.ts'

/** All of kip, its state in CachedImages. */
export async function clusterParts(context: Context, signal: AbortSignal): Promise<Parts> {
  const { client, leaderClient, settings, log, metrics, invocation, live, doubt } = context
  const component = (name: string) => log.child({ component: name })
  const mapping = createMapping(settings.mirror)
  const store = createClusterStore({ client: leaderClient, log: component('state'), metrics })
  const exclusions = createExclusions({ client, settings, log: component('exclusions'), metrics })
  const networks = await clusterNetworks(client, invocation.env, signal, doubt)
  const authorities = createAuthorities({
    caFile: settings.registries.caFile,
    readFile: invocation.readFile,
    log: component('registries'),
  })
  const counts = registryFamily(metrics)
  const pending = new Set<string>()
  const waitFor = (name: string, done: Promise<unknown>) => {
    pending.add(name)
    void done.then(() => pending.delete(name))
  }
  waitFor('cachedimages: first list', store.synced)
  waitFor('namespaces: first list', exclusions.synced)

  const events = createEventRecorder({
    client,
    controller: 'images.kip/kip',
    instance: settings.pod.name || hostname(),
    log: component('events'),
  })
  let seeLeaving: ((pod: Pod) => void) | undefined
  const unpulled = new Listeners<[reference: string]>()
  const demandsChanged = new Listeners()
  const discovery = createDiscovery({
    client,
    store,
    exclusions,
    mapping,
    settings: live.view(),
    log: component('discovery'),
    metrics,
    events,
    onLeaving: (pod) => seeLeaving?.(pod),
    onUnpulled: unpulled.tell,
    demands: {
      isAsked: () => asksUsers(live.view().puller),
      onChange: demandsChanged.tell,
    },
  })
  const resolve: Part = async (signal) => {
    const registry = createRegistries({
      settings,
      authorities: authorities(),
      readFile: invocation.readFile,
      clusterNetworks: networks,
      userAgent: `kip/${invocation.version}`,
    })
    const log = component('resolver')
    const endTelling = keepTelling(registry, counts())
    const looking = live.part(
      (settings) => {
        const resolver = createResolver({ store, registry, settings, log, metrics })
        return async (signal) => {
          const stop = unpulled.add(resolver.hasten)
          try {
            await resolver.run(signal)
          } finally {
            stop()
          }
        }
      },
      ({ puller }) => puller.intervalHours,
    )
    try {
      await looking(signal)
    } finally {
      endTelling()
      await registry.close()
    }
  }
  const everywhere: Part[] = [
    (signal) => live.follow(signal),
    store.run,
    exclusions.run,
    (signal) => untilAborted(signal).then(() => events.close()),
  ]
  const leading: Part[] = [
    live.part(
      () => discovery.run,
      ({ puller }) => [puller.images, asksUsers(puller)],
    ),
    resolve,
  ]
  if (settings.puller.enabled)
    leading.push(
      live.part((settings) =>
        pullerPart({
          ...{ client: leaderClient, settings, log, metrics, store, mapping },
          pullIdentities: (references) => discovery.pullIdentities(references),
          spread: settings.puller.shards,
          nodesBefore: (reference) => discovery.nodesBefore(reference),
          demands: {
            of: (reference) => discovery.demandsOf(reference),
            onChange: demandsChanged.add,
          },
        }),
      ),
    )
  if (settings.mirror.registry !== '')
    leading.push(
      mirrorPart(context, { store, mapping, authorities, onUnpulled: unpulled.add, counts }),
    )
  if (!settings.admission.enabled) {
    const log = component('admission')
    leading.push((signal) => removeWebhookConfiguration({ client: leaderClient, log }, signal))
    return { everywhere, leading, waiting: () => [...pending] }
  }
  const sight = (reference: string): void => discovery.sight(reference)
  const webhook = await admissionParts(
    context,
    { store, exclusions, mapping, events, sight },
    signal,
  )
  seeLeaving = webhook.seeLeaving
  waitFor('flagged workloads: first list', webhook.workloadsSynced)
  const { admission } = webhook
  return {
    everywhere: [...everywhere, ...webhook.everywhere],
    leading: [...leading, ...webhook.leading],
    waiting: () => [...pending, ...admission.ready().waiting],
    admission,
  }
}

/** Copies what is wanted to the backup, in a process of its own. */
function mirrorPart(
  { settings, log, metrics, identity, invocation: { program, env } }: Context,
  {
    store,
    mapping,
    authorities,
    onUnpulled,
    counts,
  }: {
    readonly store: ImageStore
    readonly mapping: Mapping
    readonly authorities: () => string
    readonly onUnpulled: MirrorOptions['onUnpulled']
    readonly counts: () => RegistryCounts
  },
): Part {
  const own = log.child({ component: 'mirror' })
  return (signal) =>
    runMirror(
      {
        store,
        mapping,
        registry: settings.mirror.registry,
        decide: (image) =>
          decide({ reference: image.reference, image, mapping, settings, now: Date.now() }).mirror,
        keepWorker: (hooks, signal) =>
          keepMirrorProcess(
            { program, env, settings, authorities, identity, log: own, counts, ...hooks },
            signal,
          ),
        onUnpulled,
        log: own,
        metrics,
        now: Date.now,
      },
      signal,
    )
}
