import type { ProtoField, ProtoKind, ProtoMessage } from './protobuf.ts'

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
const one = (name: string, of: ProtoMessage): ProtoField => ({ name, kind: 'message', of })
const many = (name: string, of: ProtoMessage): ProtoField => ({
  name,
  kind: 'message',
  of,
  list: true,
})
const inline = (of: ProtoMessage): ProtoField => ({ name: '', kind: 'inline', of })

const ownerReference = message({
  1: text('kind'),
  3: text('name'),
  4: text('uid'),
  5: text('apiVersion'),
  6: field('controller', 'bool'),
})

export const objectMeta: ProtoMessage = message({
  1: text('name'),
  3: text('namespace'),
  5: text('uid'),
  6: text('resourceVersion'),
  7: field('generation', 'int'),
  8: field('creationTimestamp', 'time'),
  9: field('deletionTimestamp', 'time'),
  10: field('deletionGracePeriodSeconds', 'int'),
  11: field('labels', 'map'),
  12: field('annotations', 'map'),
  13: many('ownerReferences', ownerReference),
})

export const listMeta: ProtoMessage = message({ 2: text('resourceVersion'), 3: text('continue') })

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
const container = message({
  1: text('name'),
  2: text('image'),
  14: text('imagePullPolicy'),
  24: text('restartPolicy'),
})

const podSpec = message({
  1: many(
    'volumes',
    message({
      1: text('name'),
      2: inline(
        message({ 30: one('image', message({ 1: text('reference'), 2: text('pullPolicy') })) }),
      ),
    }),
  ),
  2: many('containers', container),
  3: text('restartPolicy'),
  7: field('nodeSelector', 'map'),
  8: text('serviceAccountName'),
  10: text('nodeName'),
  15: many('imagePullSecrets', message({ 1: text('name') })),
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
  34: many(
    'ephemeralContainers',
    message({ 1: inline(container), 2: text('targetContainerName') }),
  ),
})

const containerStatus = message({
  1: text('name'),
  2: one(
    'state',
    message({ 1: one('waiting', message({ 1: text('reason'), 2: text('message') })) }),
  ),
  4: field('ready', 'bool'),
  5: field('restartCount', 'int'),
  6: text('image'),
  7: text('imageID'),
})

const podTemplate = message({ 1: one('metadata', objectMeta), 2: one('spec', podSpec) })

const jobSpec = message({ 6: one('template', podTemplate), 10: field('suspend', 'bool') })

/** A workload whose spec has replicas and, under a number of its own, the template; its status has the replicas. */
const workload = (templateNumber: number, replicasNumber: number): ProtoMessage =>
  message({
    1: one('metadata', objectMeta),
    2: one(
      'spec',
      message({ 1: field('replicas', 'int'), [templateNumber]: one('template', podTemplate) }),
    ),
    3: one('status', message({ [replicasNumber]: field('replicas', 'int') })),
  })

export const namespaceMessage: ProtoMessage = message({ 1: one('metadata', objectMeta) })

export const podMessage: ProtoMessage = message({
  1: one('metadata', objectMeta),
  2: one('spec', podSpec),
  3: one(
    'status',
    message({
      1: text('phase'),
      3: text('message'),
      4: text('reason'),
      8: many('containerStatuses', containerStatus),
      10: many('initContainerStatuses', containerStatus),
      13: many('ephemeralContainerStatuses', containerStatus),
    }),
  ),
})

export const deploymentMessage: ProtoMessage = workload(3, 2)
export const statefulSetMessage: ProtoMessage = workload(3, 2)
export const replicaSetMessage: ProtoMessage = workload(3, 1)
export const replicationControllerMessage: ProtoMessage = workload(3, 1)

export const daemonSetMessage: ProtoMessage = message({
  1: one('metadata', objectMeta),
  2: one('spec', message({ 2: one('template', podTemplate) })),
})

export const jobMessage: ProtoMessage = message({
  1: one('metadata', objectMeta),
  2: one('spec', jobSpec),
  3: one(
    'status',
    message({
      1: many('conditions', message({ 1: text('type'), 2: text('status') })),
      3: field('completionTime', 'time'),
    }),
  ),
})

export const cronJobMessage: ProtoMessage = message({
  1: one('metadata', objectMeta),
  2: one(
    'spec',
    message({
      1: text('schedule'),
      4: field('suspend', 'bool'),
      5: one('jobTemplate', message({ 1: one('metadata', objectMeta), 2: one('spec', jobSpec) })),
    }),
  ),
})

/** By group and plural; what is not here is read as JSON. */
export const builtInMessages: Readonly<Record<string, ProtoMessage>> = {
  '/pods': podMessage,
  '/namespaces': namespaceMessage,
  '/replicationcontrollers': replicationControllerMessage,
  'apps/deployments': deploymentMessage,
  'apps/statefulsets': statefulSetMessage,
  'apps/daemonsets': daemonSetMessage,
  'apps/replicasets': replicaSetMessage,
  'batch/jobs': jobMessage,
  'batch/cronjobs': cronJobMessage,
}
