import type { OwnName, ProtoField, ProtoKind, ProtoMessage } from './protobuf.ts'

/**
 * The fields that kip reads of built-in objects, with their numbers in the `generated.proto` files of k8s.io/api and
 * k8s.io/apimachinery. Numbers never change; a test compares what is read through them with the API server's JSON.
 */
function message(fields: Readonly<Record<number, ProtoField>>): ProtoMessage {
  const byNumber: (ProtoField | undefined)[] = []
  for (const [number, field] of Object.entries(fields)) byNumber[Number(number)] = field
  // Without holes, so that a look-up is quick.
  return Array.from(byNumber)
}

const field = (name: string, kind: ProtoKind): ProtoField => ({ name, kind })
const text = (name: string): ProtoField => field(name, 'string')
const own = (name: OwnName): ProtoField => ({ name, kind: 'string', own: name })
const texts = (name: string): ProtoField => ({ name, kind: 'string', list: true })
const one = (name: string, of: ProtoMessage, needs = 0): ProtoField => ({
  ...{ name, kind: 'message', of, needs },
})
const many = (name: string, of: ProtoMessage, needs = 0): ProtoField => ({
  ...{ name, kind: 'message', of, list: true, needs },
})
const inline = (of: ProtoMessage, needs = 0): ProtoField => ({
  name: '',
  kind: 'inline',
  of,
  needs,
})

/** The labels and annotations that are read, of objects and of templates; what is not named: all. */
export interface MetadataKeys {
  readonly labels?: readonly string[]
  readonly annotations?: readonly string[]
}

const map = (name: string, keys: readonly string[] | undefined): ProtoField => ({
  ...{ name, kind: 'map' },
  ...(keys && { keys }),
})

const ownerReference = message({
  1: text('kind'),
  3: text('name'),
  4: text('uid'),
  5: text('apiVersion'),
  6: field('controller', 'bool'),
})

/** Of pods that are being deleted, when that was asked for tells how they fared. */
const deletion: Readonly<Record<number, ProtoField>> = {
  8: { ...field('creationTimestamp', 'time'), alone: 'only' },
  9: { ...field('deletionTimestamp', 'time'), alone: 'makes' },
  10: { ...field('deletionGracePeriodSeconds', 'int'), alone: 'only' },
}

const objectMeta = ({ labels, annotations }: MetadataKeys, more = {}): ProtoMessage =>
  message({
    ...more,
    1: own('name'),
    3: own('namespace'),
    5: own('uid'),
    6: own('resourceVersion'),
    11: map('labels', labels),
    12: map('annotations', annotations),
    13: many('ownerReferences', ownerReference),
  })

const templateMeta = ({ labels, annotations }: MetadataKeys): ProtoMessage =>
  message({ 11: map('labels', labels), 12: map('annotations', annotations) })

/** What is read of a list besides its items. */
export const listMeta: ProtoMessage = message({ 2: text('resourceVersion'), 3: text('continue') })

/** Of a bookmark nothing else is set. */
export const bookmark: ProtoMessage = message({
  1: one('metadata', message({ 6: text('resourceVersion'), 12: field('annotations', 'map') })),
})

/** What is read of an error. */
export const status: ProtoMessage = message({
  2: text('status'),
  3: text('message'),
  4: text('reason'),
  5: one(
    'details',
    message({
      1: text('name'),
      3: text('kind'),
      4: many('causes', message({ 1: text('reason'), 2: text('message'), 3: text('field') })),
      5: field('retryAfterSeconds', 'int'),
    }),
  ),
  6: field('code', 'int'),
})

/** Of Container and of EphemeralContainerCommon, which are alike. */
const container = message({ 1: text('name'), 2: text('image'), 14: text('imagePullPolicy') })

/**
 * Of NodeAffinity what asks for nodes by their labels. What asks by name stands alone in the pods of DaemonSets, of which it
 * would make as many kinds as there are nodes; they say the node by `nodeName`.
 */
const nodeSelectorTerm = message({
  1: many('matchExpressions', message({ 1: text('key'), 2: text('operator'), 3: texts('values') })),
})
const nodeAffinity = message({
  1: one(
    'requiredDuringSchedulingIgnoredDuringExecution',
    message({ 1: many('nodeSelectorTerms', nodeSelectorTerm, 1) }),
    1,
  ),
})

const podSpec = message({
  // Volumes that hold no image count for nothing: one has a random name in each pod.
  1: many(
    'volumes',
    message({
      1: text('name'),
      2: inline(
        message({ 30: one('image', message({ 1: text('reference'), 2: text('pullPolicy') })) }),
        30,
      ),
    }),
    2,
  ),
  2: many('containers', container),
  7: field('nodeSelector', 'map'),
  8: text('serviceAccountName'),
  10: own('nodeName'),
  15: many('imagePullSecrets', message({ 1: text('name') })),
  18: one('affinity', message({ 1: one('nodeAffinity', nodeAffinity, 1) }), 1),
  20: many('initContainers', container),
  22: many(
    'tolerations',
    message({
      1: text('key'),
      2: text('operator'),
      3: text('value'),
      4: text('effect'),
      5: field('tolerationSeconds', 'int'),
    }),
  ),
  34: many('ephemeralContainers', message({ 1: inline(container) })),
})

/** Of containers that wait, why. */
const containerStatus = message({
  1: text('name'),
  2: one('state', message({ 1: one('waiting', message({ 1: text('reason') })) }), 1),
})

const podMessage = (keys: MetadataKeys): ProtoMessage =>
  message({
    1: one('metadata', objectMeta(keys, deletion)),
    2: one('spec', podSpec),
    3: one(
      'status',
      message({
        1: { ...text('phase'), alone: 'only' },
        8: many('containerStatuses', containerStatus, 2),
        10: many('initContainerStatuses', containerStatus, 2),
      }),
    ),
  })

const podTemplate = (keys: MetadataKeys): ProtoMessage =>
  message({ 1: one('metadata', templateMeta(keys)), 2: one('spec', podSpec) })

/** A workload whose spec has replicas and, under a number of its own, the template; its status has the replicas. */
const workload = (
  keys: MetadataKeys,
  templateNumber: number,
  replicasNumber: number,
): ProtoMessage =>
  message({
    1: one('metadata', objectMeta(keys)),
    2: one(
      'spec',
      message({
        1: field('replicas', 'int'),
        [templateNumber]: one('template', podTemplate(keys)),
      }),
    ),
    3: one('status', message({ [replicasNumber]: field('replicas', 'int') })),
  })

const jobSpec = (keys: MetadataKeys): ProtoMessage =>
  message({ 6: one('template', podTemplate(keys)), 10: field('suspend', 'bool') })

/** By group and plural; what is not here is read as JSON. */
export function builtInMessages(keys: MetadataKeys = {}): Readonly<Record<string, ProtoMessage>> {
  const metadata = one('metadata', objectMeta(keys))
  return {
    '/pods': podMessage(keys),
    '/namespaces': message({ 1: metadata }),
    '/replicationcontrollers': workload(keys, 3, 1),
    'apps/deployments': workload(keys, 3, 2),
    'apps/statefulsets': workload(keys, 3, 2),
    'apps/daemonsets': message({
      1: metadata,
      2: one('spec', message({ 2: one('template', podTemplate(keys)) })),
    }),
    'apps/replicasets': workload(keys, 3, 1),
    'batch/jobs': message({ 1: metadata, 2: one('spec', jobSpec(keys)) }),
    'batch/cronjobs': message({
      1: metadata,
      2: one(
        'spec',
        message({ 5: one('jobTemplate', message({ 2: one('spec', jobSpec(keys)) })) }),
      ),
    }),
  }
}
