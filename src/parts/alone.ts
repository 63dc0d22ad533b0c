import { removeWebhookConfiguration } from '../admission/configuration-keeper.ts'
import { putStaticImages } from '../discovery/static-images.ts'
import { createMapping } from '../images/mapping.ts'
import { untilAborted } from '../kube/until-aborted.ts'
import type { Parts } from '../lifecycle.ts'
import { mayElect } from '../mode.ts'
import { createMemoryStore } from '../state/memory-store.ts'
import type { Context } from './context.ts'
import { pullerPart } from './puller.ts'

/** KIP's old job: the static IMAGES, in memory, under a Role. */
export async function aloneParts(context: Context, signal: AbortSignal): Promise<Parts> {
  const { leaderClient: client, settings, log, metrics, live, doubt } = context
  if (settings.mirror.registry !== '')
    log.warn({}, 'mirror.registry is set, but nothing is mirrored or rewritten without discovery')
  const mapping = createMapping({ ...settings.mirror, registry: '' })
  const elected = await mayElect(client, settings, signal, doubt)
  if (!elected) log.warn({}, 'Leases may not be read; this replica leads, let it be the only one')
  const pull = live.part((settings) => async (signal) => {
    const store = createMemoryStore()
    await putStaticImages(store, settings.puller.images, { signal })
    await pullerPart({ client, settings, log, metrics, store, mapping })(signal)
  })
  if (!settings.puller.enabled)
    log.warn({}, 'puller.enabled is false, and without discovery there is nothing else to do')
  return {
    elected,
    everywhere: [(signal) => live.follow(signal)],
    leading: [
      settings.puller.enabled ? pull : untilAborted,
      // One that kip made while it had all its parts: nobody serves it here.
      (signal) =>
        removeWebhookConfiguration({ client, log: log.child({ component: 'admission' }) }, signal),
    ],
    waiting: () => [],
  }
}
