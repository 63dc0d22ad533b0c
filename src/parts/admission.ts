import { createCertificateSource } from '../../certs/choose-source.ts'
import { type Admission, createAdmission } from '../admission/admission.ts'
import { keepWebhookConfiguration } from '../admission/configuration-keeper.ts'
import { createLoopBreaker } from '../admission/loop-breaker.ts'
import { mayChangePullPolicy } from '../admission/pull-policy.ts'
import { createReviewer } from '../admission/reviewer.ts'
import type { Mapping } from '../images/mapping.ts'
import { allWorkloadKinds } from '../images/templates.ts'
import type { EventRecorder } from '../kube/events.ts'
import type { Pod } from '../kube/types.ts'
import { untilAborted } from '../kube/until-aborted.ts'
import type { Part } from '../lifecycle.ts'
import type { Exclusions } from '../state/exclusions.ts'
import { createFlaggedWorkloads } from '../state/flagged-workloads.ts'
import { createPullSecrets } from '../state/pull-secrets.ts'
import { createStoppedOwners } from '../state/stopped-owners.ts'
import type { ImageStore } from '../state/store.ts'
import type { Context } from './context.ts'

export interface AdmissionPartsOptions {
  readonly store: ImageStore
  readonly exclusions: Exclusions
  readonly mapping: Mapping
  readonly events: EventRecorder
  /** Told of each image that a pod asks for, by its normalised reference. */
  readonly sight: (reference: string) => void
}

export interface AdmissionParts {
  readonly everywhere: readonly Part[]
  readonly leading: readonly Part[]
  readonly admission: Admission
  /** Resolves when all is known of flagged workloads. */
  readonly workloadsSynced: Promise<void>
  /** To be told of each pod that is being deleted; absent where loops are not broken. */
  readonly seeLeaving?: (pod: Pod) => void
}

/** The webhook: what answers in every replica, and what the leader keeps for it. */
export async function admissionParts(
  { client, leaderClient, doubt, settings, live, log, metrics }: Context,
  { store, exclusions, mapping, events, sight }: AdmissionPartsOptions,
  signal: AbortSignal,
): Promise<AdmissionParts> {
  const component = (name: string) => log.child({ component: name })
  const { namespace } = settings
  const kinds = allWorkloadKinds(settings.discovery.templates)
  const certificates = createCertificateSource({
    client,
    settings,
    log: component('certs'),
    metrics,
  })
  const workloads = createFlaggedWorkloads({
    client,
    kinds,
    log: component('exclusions'),
    metrics,
  })
  const stopped = settings.admission.loopBreaker
    ? createStoppedOwners({ client: leaderClient, namespace, log: component('state') })
    : undefined
  const pullSecret =
    settings.mirror.pullSecret === ''
      ? undefined
      : createPullSecrets({ client, name: settings.mirror.pullSecret, log: component('state') })
  const pod = { namespace, name: settings.pod.name }
  const canChangePolicy =
    settings.admission.pullPolicy !== 'keep' &&
    (await mayChangePullPolicy({ client, doubt, pod, log: component('admission') }, signal))
  // Whether the puller's word counts changes while kip runs.
  const known = {
    ...{ store, exclusions, workloads, stopped, pullSecret, mapping },
    settings: live.view(),
  }
  const admission = createAdmission({
    ...known,
    canChangePolicy,
    certificates,
    log: component('admission'),
    metrics,
    sight,
  })
  const breaker =
    stopped &&
    createLoopBreaker({
      client,
      stopped,
      kinds,
      review: createReviewer(known),
      registry: settings.mirror.registry,
      events,
      log: component('admission'),
      metrics,
    })
  const serve: Part = async (signal) => {
    const aborted = untilAborted(signal)
    // Without a certificate it starts only when it is closed, which waits for this part to end where another one failed.
    await Promise.race([admission.start(), aborted])
    await aborted
  }
  const keepConfiguration: Part = (signal) =>
    keepWebhookConfiguration(
      {
        ...{ client: leaderClient, settings, exclusions, certificates, metrics },
        log: component('admission'),
      },
      signal,
    )
  return {
    everywhere: [
      workloads.run,
      (signal) => certificates.run(signal),
      serve,
      ...(pullSecret ? [pullSecret.run] : []),
      ...(stopped ? [stopped.run] : []),
    ],
    leading: [...(breaker ? [breaker.run] : []), keepConfiguration],
    admission,
    workloadsSynced: workloads.synced,
    ...(breaker && { seeLeaving: breaker.see }),
  }
}
