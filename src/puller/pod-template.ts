import type { PullerSettings } from '../config/settings.ts'
import type { PodSpec, PodTemplateSpec, Toleration } from '../kube/types.ts'
import { affinityByName, affinityFor } from './affinity.ts'
import { startupTaint } from './node-view.ts'
import { contentHash, noted } from './notes.ts'
import type { Shard } from './shard.ts'
import { type StrategyName, strategyAnnotation, strategyOf } from './strategies/strategies.ts'
import { partsOf } from './where.ts'

/** Annotation of a template and so of its pods: a hash of the template, which tells new pods from old. */
export const templateAnnotation = 'images.kip/template'
/** Annotation of a template: the same of tags that moved since, so that a new digest makes new pods. */
export const movedAnnotation = 'images.kip/moved'

/** The template of a shard's pods. */
export function buildPodTemplate(
  shard: Shard,
  labels: Readonly<Record<string, string>>,
  settings: PullerSettings,
  {
    chosen,
    assignsUsers,
    pullSecrets,
    without,
  }: {
    readonly chosen: StrategyName
    readonly assignsUsers: boolean
    readonly pullSecrets: readonly string[]
    /** Types of nodes that are left out. */
    readonly without: readonly string[]
  },
): PodTemplateSpec {
  const strategy = strategyOf(shard.kind, chosen)
  const { cpuRequest, cpuLimit, memoryRequest, memoryLimit } = settings
  const parts = strategy.layout({
    members: shard.members,
    sleepImage: settings.sleepImage,
    resources: { cpuRequest, cpuLimit, memoryRequest, memoryLimit },
    pullPolicy: shard.kind === 'refresh' ? 'Always' : 'IfNotPresent',
  })
  const template = {
    metadata: {
      labels: {
        ...labels,
        'images.kip/ignore': 'true',
        'sidecar.istio.io/inject': 'false',
      },
      annotations: {
        [strategyAnnotation]: strategy.name,
        ...noted(movedAnnotation, shard.members, ({ moved }) => moved),
        'linkerd.io/inject': 'disabled',
        'sidecar.istio.io/inject': 'false',
      },
    },
    spec: { ...parts, ...podSettings(settings, shard, { assignsUsers, pullSecrets, without }) },
  }
  const annotations = {
    ...template.metadata.annotations,
    [templateAnnotation]: contentHash(template),
  }
  return { ...template, metadata: { ...template.metadata, annotations } }
}

/** All of a pod that no image and no strategy changes; Pod Security `restricted`. */
function podSettings(
  settings: PullerSettings,
  { where = '', placing, first }: Shard,
  {
    assignsUsers,
    pullSecrets,
    without,
  }: {
    readonly assignsUsers: boolean
    readonly pullSecrets: readonly string[]
    readonly without: readonly string[]
  },
): PodSpec {
  const imagePullSecrets = [...new Set([...settings.imagePullSecrets, ...pullSecrets])]
  const tolerations: readonly Toleration[] = [
    ...(placing ?? settings).tolerations,
    ...(settings.startupTaintSeconds === 0 ? [] : [{ key: startupTaint, operator: 'Exists' }]),
  ]
  const there = affinityFor(settings.affinity, partsOf(where).architectures, placing, without)
  const affinity = first === undefined ? there : affinityByName(there, first)
  return {
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    terminationGracePeriodSeconds: 1,
    nodeSelector: { 'kubernetes.io/os': 'linux', ...settings.nodeSelector },
    ...(Object.keys(affinity).length === 0 ? {} : { affinity }),
    ...(settings.priorityClass === '' ? {} : { priorityClassName: settings.priorityClass }),
    ...(tolerations.length === 0 ? {} : { tolerations }),
    ...(imagePullSecrets.length === 0
      ? {}
      : { imagePullSecrets: imagePullSecrets.map((name) => ({ name })) }),
    securityContext: {
      runAsNonRoot: true,
      ...(assignsUsers ? {} : { runAsUser: 65532, runAsGroup: 65532 }),
      seccompProfile: { type: 'RuntimeDefault' },
    },
  }
}
