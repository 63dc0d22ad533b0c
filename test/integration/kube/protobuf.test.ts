import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, describe, test } from 'node:test'
import { applyObject, createObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { isExpired } from '../../../src/kube/errors.ts'
import type { ProtoMessage } from '../../../src/kube/protobuf.ts'
import { protobufDecoder } from '../../../src/kube/protobuf-decoder.ts'
import { builtInMessages } from '../../../src/kube/protobuf-schemas.ts'
import { Reflector } from '../../../src/kube/reflector.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { KubeList, KubeObject } from '../../../src/kube/types.ts'
import { ownCluster } from '../../support/own-cluster.ts'
import { silentLog } from '../../support/silent-log.ts'

const cluster = await ownCluster()
const { signal } = new AbortController()
const label = `t${randomUUID().slice(0, 8)}`

/** A pod spec with every field that the schemas name, and others beside them. */
const podSpec = {
  containers: [
    {
      name: 'main',
      image: 'registry.test/ä/main:1@sha256:0',
      imagePullPolicy: 'Always',
      env: [{ name: 'A', value: 'b' }],
      ports: [{ containerPort: 80 }],
      resources: { requests: { cpu: '1m' } },
      livenessProbe: { tcpSocket: { port: 80 }, periodSeconds: 7 },
    },
    { name: 'second', image: 'second' },
  ],
  initContainers: [
    { name: 'init', image: 'init:1', imagePullPolicy: 'Never', restartPolicy: 'Always' },
  ],
  volumes: [
    { name: 'v', image: { reference: 'volume:1', pullPolicy: 'IfNotPresent' } },
    { name: 'w', emptyDir: { sizeLimit: '1Mi' } },
  ],
  imagePullSecrets: [{ name: 'one' }, { name: 'two' }],
  nodeSelector: { disk: 'ssd', zone: 'a' },
  tolerations: [
    { key: 'k', operator: 'Equal', value: 'v', effect: 'NoExecute', tolerationSeconds: 300 },
  ],
  affinity: {
    nodeAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'disk', operator: 'Exists' }] }],
      },
    },
  },
  serviceAccountName: 'default',
  automountServiceAccountToken: false,
}
const metadata = {
  name: label,
  labels: { test: label, empty: '' },
  annotations: { 'images.kip/ignore': 'true' },
}
const selector = { matchLabels: { test: label } }
const template = {
  metadata: { labels: { test: label }, annotations: { note: 'ü' } },
  spec: podSpec,
}
const once = { ...template, spec: { ...podSpec, restartPolicy: 'Never' } }

const objects: Readonly<
  Record<string, { readonly version: string; readonly kind: string; readonly spec?: object }>
> = {
  '/pods': { version: 'v1', kind: 'Pod', spec: podSpec },
  '/namespaces': { version: 'v1', kind: 'Namespace' },
  '/replicationcontrollers': {
    version: 'v1',
    kind: 'ReplicationController',
    spec: { replicas: 0, selector: { test: label }, template },
  },
  'apps/deployments': {
    version: 'v1',
    kind: 'Deployment',
    spec: { replicas: 0, selector, template },
  },
  'apps/statefulsets': {
    version: 'v1',
    kind: 'StatefulSet',
    spec: { replicas: 0, selector, template, serviceName: 'x' },
  },
  'apps/daemonsets': { version: 'v1', kind: 'DaemonSet', spec: { selector, template } },
  'apps/replicasets': {
    version: 'v1',
    kind: 'ReplicaSet',
    spec: { replicas: 3, selector, template },
  },
  'batch/jobs': { version: 'v1', kind: 'Job', spec: { suspend: true, template: once } },
  'batch/cronjobs': {
    version: 'v1',
    kind: 'CronJob',
    spec: { schedule: '0 0 1 1 *', suspend: true, jobTemplate: { spec: { template: once } } },
  },
}

const onFault = (error: unknown): never => assert.fail(String(error))
const schemas = builtInMessages()

/** Whether a message has the field without which it counts for nothing. */
function counts(picked: Readonly<Record<string, unknown>>, of: ProtoMessage, needs = 0): boolean {
  const needed = of[needs]
  if (needed?.kind === 'inline') return counts(picked, needed.of ?? [], needed.needs)
  return needed === undefined || picked[needed.name] !== undefined
}

/** Of an object in JSON, the fields that a schema names, without what JSON leaves out when it is empty. */
function pick(value: unknown, schema: ProtoMessage): Record<string, unknown> {
  const picked: Record<string, unknown> = {}
  const object = value as Readonly<Record<string, unknown>>
  for (const field of schema) {
    if (field === undefined) continue
    const { name, kind, of = [], list } = field
    if (kind === 'inline') Object.assign(picked, pick(value, of))
    else {
      const found = object[name]
      if (found === undefined || found === null || found === 0 || found === false || found === '')
        continue
      if (kind !== 'message') picked[name] = found
      else if (list === true) {
        const items = (found as unknown[]).map((item) => pick(item, of))
        const counted = items.filter((item) => counts(item, of, field.needs))
        if (counted.length > 0) picked[name] = counted
      } else {
        const one = pick(found, of)
        if (Object.keys(one).length > 0 && counts(one, of, field.needs)) picked[name] = one
      }
    }
  }
  return picked
}

describe('protobuf of a real API server', () => {
  let client: KubeClient
  before(async () => {
    client = await connectCluster({ kubeconfig: cluster.kubeconfig })
  })
  after(() => client.close())

  for (const [resource, { version, kind, spec }] of Object.entries(objects)) {
    test(`${kind}: what is read by number is what JSON says by name`, async () => {
      const [group = '', plural = ''] = resource.split('/')
      const schema = schemas[resource] ?? []
      const namespace = kind === 'Namespace' ? {} : { namespace: 'default' }
      const path = { group, version, plural, ...namespace }
      const apiVersion = group === '' ? version : `${group}/${version}`
      const object = { apiVersion, kind, metadata, ...(spec === undefined ? {} : { spec }) }
      await applyObject(client, path, object, { fieldManager: 'test', signal })
      if (kind === 'Pod') {
        await client.request({
          method: 'PATCH',
          path: resourcePath(path, label, 'ephemeralcontainers'),
          contentType: 'application/strategic-merge-patch+json',
          body: {
            spec: {
              ephemeralContainers: [
                {
                  name: 'debug',
                  image: 'debug:1',
                  imagePullPolicy: 'Never',
                  targetContainerName: 'main',
                },
              ],
            },
          },
          signal,
        })
        await client.request({
          method: 'PATCH',
          path: resourcePath(path, label, 'status'),
          contentType: 'application/merge-patch+json',
          body: {
            status: {
              phase: 'Pending',
              reason: 'Because',
              message: 'it is so',
              containerStatuses: [
                {
                  name: 'main',
                  image: 'main:1',
                  imageID: 'sha256:1',
                  ready: true,
                  restartCount: 3,
                  state: { waiting: { reason: 'ErrImagePull', message: 'no' } },
                },
              ],
              initContainerStatuses: [
                {
                  name: 'init',
                  image: 'init:1',
                  imageID: '',
                  ready: false,
                  restartCount: 0,
                  state: {},
                },
              ],
            },
          },
          signal,
        })
      }
      // Both are read while controllers may write: again, until both are of one version.
      const query = { fieldSelector: `metadata.name=${label}` }
      const decoder = protobufDecoder<KubeObject>(schema, { project: (raw) => raw, onFault })
      for (let times = 0; ; times += 1) {
        const answer = await client.raw({
          method: 'GET',
          path: resourcePath(path),
          query,
          accept: decoder.accept.list,
          signal,
        })
        assert.match(answer.contentType, /protobuf/)
        const seen: KubeObject[] = []
        decoder.readList(answer.contentType, answer.body, ({ value }) => {
          if (value !== undefined) seen.push(value)
        })
        const json = await client.request<KubeList<KubeObject>>({
          method: 'GET',
          path: resourcePath(path),
          query,
          signal,
        })
        const [raw] = json.items ?? []
        const [read] = seen
        if (raw?.metadata?.resourceVersion !== read?.metadata?.resourceVersion && times < 50)
          continue
        assert.deepEqual(pick(read, schema), pick(raw, schema))
        break
      }
    })
  }

  test('reflectors by protobuf and by JSON see the same, from the list and from the watch', async () => {
    const stop = new AbortController()
    const told: Record<string, string[]> = { protobuf: [], json: [], pages: [] }
    const schema = schemas['/namespaces'] ?? []
    const reflectors = Object.entries(told).map(
      ([name, lines]) =>
        new Reflector<string>({
          client,
          resource: { group: '', version: 'v1', plural: 'namespaces' },
          labelSelector: `test=${label}-r`,
          watchList: name !== 'pages',
          project: ({ metadata: meta }) =>
            JSON.stringify([meta?.uid, meta?.labels, meta?.annotations]),
          onEvent: ({ type, key, value }) => lines.push(`${type} ${key} ${value}`),
          ...(name === 'json' ? {} : { protobuf: schema }),
          log: silentLog(),
        }),
    )
    const runs = reflectors.map((reflector) => reflector.run(stop.signal))
    const make = (name: string) =>
      createObject(
        client,
        { group: '', version: 'v1', plural: 'namespaces' },
        {
          apiVersion: 'v1',
          kind: 'Namespace',
          metadata: {
            name: `${label}-${name}`,
            labels: { test: `${label}-r` },
            annotations: { say: 'grüße' },
          },
        },
        { signal },
      )
    await Promise.all(reflectors.map(({ synced }) => synced))
    await make('one')
    await make('two')
    for (
      let waited = 0;
      waited < 500 && Object.values(told).some(({ length }) => length < 2);
      waited += 1
    ) {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    assert.equal(told.json?.filter((line) => line.startsWith('added')).length, 2)
    assert.deepEqual(told.protobuf, told.json)
    assert.deepEqual(told.pages, told.json)
    stop.abort()
    await Promise.all(runs)
  })

  test('a refusal is read as such', async () => {
    const decoder = protobufDecoder([], { project: () => undefined, onFault })
    const refusal = client.raw({
      method: 'GET',
      path: '/api/v1/namespaces',
      query: {
        limit: '1',
        continue: Buffer.from(JSON.stringify({ v: 'meta.k8s.io/v1', rv: 1, start: 'x' })).toString(
          'base64',
        ),
      },
      accept: decoder.accept.list,
      signal,
    })
    await assert.rejects(refusal, (error: unknown) => {
      assert.match(Object(error).message, /^GET \/api\/v1\/namespaces: 4\d\d: [\x20-\x7e]+$/)
      assert.ok(isExpired(error) || Object(error).status === 400, String(error))
      return true
    })
  })
})
