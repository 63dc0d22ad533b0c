import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { rootCertificates } from 'node:tls'
import { parseAllDocuments, parseDocument } from 'yaml'
import { servingNames } from '../../../certs/secret-source.ts'
import { defaultSettings } from '../../../src/config/leaves.ts'
import { loadSettings } from '../../../src/config/load.ts'
import { workloadKinds } from '../../../src/images/templates.ts'
import { startupTaint } from '../../../src/puller/node-view.ts'

const folder = new URL('../../../deploy/manifests/', import.meta.url)

interface Manifest {
  readonly kind: string
  readonly metadata: {
    readonly name: string
    readonly namespace?: string
    readonly labels?: Readonly<Record<string, string>>
  }
  readonly rules?: readonly Rule[]
  readonly roleRef?: { readonly kind: string; readonly name: string }
  readonly subjects?: readonly object[]
  readonly data?: Readonly<Record<string, string>>
}

interface Rule {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly resourceNames?: readonly string[]
  readonly verbs: readonly string[]
}

interface Deployment extends Manifest {
  readonly spec: {
    readonly selector: { readonly matchLabels: Readonly<Record<string, string>> }
    readonly template: {
      readonly metadata: { readonly labels: Readonly<Record<string, string>> }
      readonly spec: {
        readonly serviceAccountName: string
        readonly enableServiceLinks: boolean
        readonly securityContext: {
          readonly runAsNonRoot: boolean
          readonly seccompProfile: object
        }
        readonly containers: readonly [Container]
      }
    }
  }
}

interface Container {
  readonly name: string
  readonly env: readonly { readonly name: string; readonly value?: string }[]
  readonly envFrom: readonly { readonly configMapRef: { readonly name: string } }[]
  readonly ports: readonly { readonly name: string; readonly containerPort: number }[]
  readonly livenessProbe: Probe
  readonly readinessProbe: Probe
  readonly securityContext: object
}

interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string }
}

function read(path: string): unknown[] {
  return parseAllDocuments(readFileSync(new URL(path, folder), 'utf8')).map((document) => {
    assert.deepEqual(document.errors, [], path)
    return document.toJS()
  })
}

const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) =>
  file.endsWith('.yaml'),
)
const objectFiles = files.filter((file) => !file.endsWith('kustomization.yaml'))
const objects = objectFiles.flatMap((file) => read(file) as Manifest[])

function only<T extends Manifest>(kind: string): T {
  const found = objects.filter((object) => object.kind === kind)
  assert.equal(found.length, 1, kind)
  return found[0] as T
}

const deployment = only<Deployment>('Deployment')
const pod = deployment.spec.template.spec
const [container] = pod.containers

/** `namespace: group/resource [name] verbs`, one line for each resource of each rule. */
function permissions(file: string): string[] {
  return (read(file) as Manifest[]).flatMap(({ kind, metadata, rules = [] }) =>
    rules.flatMap(({ apiGroups, resources, resourceNames, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.map((resource) => {
          const scope = kind === 'Role' ? metadata.namespace : '*'
          const what = group === '' ? resource : `${group}/${resource}`
          const names = resourceNames === undefined ? '' : `[${resourceNames.join(',')}] `
          return `${scope}: ${what} ${names}${verbs.join(',')}`
        }),
      ),
    ),
  )
}

const expected: Readonly<Record<string, readonly string[]>> = {
  'rbac-admission.yaml': [
    '*: admissionregistration.k8s.io/mutatingwebhookconfigurations create',
    '*: admissionregistration.k8s.io/mutatingwebhookconfigurations [kip] get,list,watch,patch,delete',
    '*: rbac.authorization.k8s.io/clusterroles [kip-admission] get',
    '*: events.k8s.io/events list,watch',
    'k8s-image-puller: secrets create',
    'k8s-image-puller: secrets [kip-webhook-certs] get,update,patch',
    'k8s-image-puller: configmaps create',
    'k8s-image-puller: configmaps [kip-stopped-owners] get,list,watch,update',
    'k8s-image-puller: discovery.k8s.io/endpointslices list',
  ],
  'rbac-discovery.yaml': [
    '*: pods get,list,watch',
    '*: replicationcontrollers get,list,watch',
    '*: apps/deployments get,list,watch',
    '*: apps/statefulsets get,list,watch',
    '*: apps/daemonsets get,list,watch',
    '*: apps/replicasets get,list,watch',
    '*: apps/controllerrevisions get,list,watch',
    '*: batch/jobs get,list,watch',
    '*: batch/cronjobs get,list,watch',
    '*: images.kip/cachedimages create,patch,delete',
    '*: images.kip/cachedimages/status patch',
    '*: networking.k8s.io/servicecidrs list',
  ],
  'rbac-events.yaml': ['*: events.k8s.io/events create,patch'],
  'rbac-leader-election.yaml': [
    'k8s-image-puller: coordination.k8s.io/leases create',
    'k8s-image-puller: coordination.k8s.io/leases [kip] get,list,watch,update',
  ],
  'rbac-live-settings.yaml': [
    'k8s-image-puller: configmaps [k8s-image-puller] get,watch',
    'k8s-image-puller: apps/deployments [kubernetes-image-puller] get',
  ],
  'rbac-mirror.yaml': ['*: images.kip/cachedimages/status patch'],
  'rbac-puller.yaml': [
    'k8s-image-puller: apps/daemonsets get,list,watch,create,patch,delete',
    'k8s-image-puller: apps/deployments get',
    'k8s-image-puller: pods get,list,watch',
    'k8s-image-puller: events.k8s.io/events list',
    '*: nodes get,list,watch',
    '*: images.kip/cachedimages/status patch',
  ],
  'rbac-state.yaml': ['*: images.kip/cachedimages get,list,watch', '*: namespaces get,list,watch'],
}

describe('RBAC', () => {
  it('grants what each feature needs, and no more', () => {
    const found = objectFiles.filter((file) => file.startsWith('rbac-')).sort()
    assert.deepEqual(found, Object.keys(expected))
    for (const [file, lines] of Object.entries(expected)) {
      assert.deepEqual(permissions(file), lines, file)
    }
  })

  it('lets discovery read every kind that makes pods', () => {
    for (const { group, plural } of workloadKinds) {
      const what = group === '' ? plural : `${group}/${plural}`
      assert.ok(expected['rbac-discovery.yaml']?.includes(`*: ${what} get,list,watch`), what)
    }
  })

  it('never shows Secrets by list or watch, save those of one name, and has no wildcard', () => {
    for (const rule of objects.flatMap(({ rules = [] }) => rules)) {
      assert.doesNotMatch(JSON.stringify(rule), /\*/)
      if (!rule.resources.includes('secrets')) continue
      const lists = rule.verbs.includes('list') || rule.verbs.includes('watch')
      assert.ok(!lists || rule.resourceNames?.join() === 'kip-backup')
    }
  })

  it('binds every role to the service account of the pods', () => {
    const roles = objects.filter(({ kind }) => /^(Cluster)?Role$/.test(kind))
    for (const { kind, metadata } of roles) {
      const binding = objects.find(
        (object) => object.kind === `${kind}Binding` && object.metadata.name === metadata.name,
      )
      assert.equal(binding?.metadata.namespace, metadata.namespace)
      assert.deepEqual(binding?.roleRef, {
        apiGroup: 'rbac.authorization.k8s.io',
        kind,
        name: metadata.name,
      })
      assert.deepEqual(binding?.subjects, [
        { kind: 'ServiceAccount', name: pod.serviceAccountName, namespace: 'k8s-image-puller' },
      ])
    }
    assert.equal(only('ServiceAccount').metadata.name, pod.serviceAccountName)
  })
})

describe('manifests', () => {
  it('are all in the kustomization, and all in one namespace', () => {
    const [{ resources }] = read('kustomization.yaml') as [{ resources: string[] }]
    const own = objectFiles.filter((file) => !file.startsWith('components/'))
    assert.deepEqual([...resources].sort(), own.sort())
    for (const { metadata } of objects) {
      // Of the KIP that is fed.
      if (metadata.name === 'kip-external-puller') continue
      assert.ok([undefined, 'k8s-image-puller'].includes(metadata.namespace), metadata.name)
    }
  })

  it('hold no webhook configuration: the leader makes it when it can serve', () => {
    assert.ok(objects.every(({ kind }) => !kind.endsWith('WebhookConfiguration')))
  })

  it('give the program settings that it takes without a word', () => {
    const configMap = only('ConfigMap')
    assert.deepEqual(container.envFrom, [{ configMapRef: { name: configMap.metadata.name } }])
    const fromFields = { NAMESPACE: 'k8s-image-puller', POD_NAME: 'kip-0', POD_IP: '10.0.0.7' }
    const direct = container.env.map(({ name, value }) => [name, value ?? ''])
    const { settings, warnings } = loadSettings({
      argv: [],
      env: { ...configMap.data, ...Object.fromEntries(direct), ...fromFields },
      readFile: () => '',
    })
    assert.deepEqual(warnings, [])
    assert.deepEqual(settings, {
      ...defaultSettings,
      pod: { name: 'kip-0', address: '10.0.0.7' },
      puller: {
        ...defaultSettings.puller,
        deploymentName: deployment.metadata.name,
        sleepImage: configMap.data?.KIP_IMAGE,
      },
    })
    const named = container.env.filter(({ value }) => value === undefined).map(({ name }) => name)
    assert.deepEqual(named, Object.keys(fromFields))
  })

  it('send the API server and the probes to the ports that the program listens on', () => {
    const ports = Object.fromEntries(container.ports.map((port) => [port.name, port.containerPort]))
    const { port, admission } = defaultSettings
    assert.deepEqual(ports, { status: port, webhook: admission.port })
    const service = only<Manifest & { spec: { selector: object; ports: object[] } }>('Service')
    assert.equal(service.metadata.name, admission.service)
    assert.deepEqual(service.spec.ports, [{ name: 'https', port: 443, targetPort: 'webhook' }])
    assert.deepEqual(container.livenessProbe.httpGet, { path: '/healthz', port: 'status' })
    assert.deepEqual(container.readinessProbe.httpGet, { path: '/readyz', port: 'status' })
  })

  it('select the pods of the Deployment', () => {
    const { matchLabels } = deployment.spec.selector
    const { labels } = deployment.spec.template.metadata
    for (const [key, value] of Object.entries(matchLabels)) assert.equal(labels[key], value)
    const service = only<Manifest & { spec: { selector: object } }>('Service')
    assert.deepEqual(service.spec.selector, matchLabels)
    const budget = only<Manifest & { spec: { selector: object } }>('PodDisruptionBudget')
    assert.deepEqual(budget.spec.selector, { matchLabels })
  })

  it('meet Pod Security restricted, which the namespace enforces', () => {
    const { labels } = only('Namespace').metadata
    assert.equal(labels?.['pod-security.kubernetes.io/enforce'], 'restricted')
    assert.equal(pod.securityContext.runAsNonRoot, true)
    assert.deepEqual(pod.securityContext.seccompProfile, { type: 'RuntimeDefault' })
    assert.deepEqual(container.securityContext, {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    })
    assert.equal(pod.enableServiceLinks, false)
  })
})

describe('a KIP that is there already', () => {
  it("is replaced, and no second container joins kip's", () => {
    // Of the chart, and of the OpenShift template: containers merge by their name.
    assert.equal(container.name, 'kubernetes-image-puller')
  })
})

describe('OpenShift', () => {
  it('starts the pods, whose user it picks from a range that the namespace has', () => {
    // As USER of docker/Dockerfile does, where nobody picks: numeric, so that a kubelet sees that it is not root.
    const dockerfile = readFileSync(new URL('../../docker/Dockerfile', folder), 'utf8')
    assert.match(dockerfile, /^USER [1-9]\d*:[1-9]\d*$/m)
    assert.doesNotMatch(JSON.stringify(pod), /runAsUser|runAsGroup|fsGroup|supplementalGroups/)
  })
})

describe('components', () => {
  const [text = ''] = rootCertificates
  const readFile = (path: string): string => (path.endsWith('.dockerconfigjson') ? '{}' : text)

  const components = files.filter((one) => /^components\/.*\/kustomization\.yaml$/.test(one))
  for (const file of components) {
    it(`${file} patches what is there, with settings that the program takes`, () => {
      const [{ kind, patches }] = read(file) as [{ kind: string; patches: { patch: string }[] }]
      assert.equal(kind, 'Component')
      const patched = patches
        .map(({ patch }) => parseDocument(patch).toJS() as Deployment & { $patch?: string })
        .filter(({ $patch }) => $patch !== 'delete')
      assert.ok(patched.length > 0)
      let env: Record<string, string> = {}
      for (const { kind, metadata, data, spec } of patched) {
        const { name, namespace } = only(kind).metadata
        assert.deepEqual(metadata, { name, namespace })
        // What a patch leaves alone it does not name.
        const containers: Deployment['spec']['template']['spec']['containers'] | undefined =
          spec?.template.spec.containers
        for (const { name } of containers ?? []) assert.equal(name, container.name)
        const variables = containers?.[0].env ?? []
        const named = variables.map(({ name, value }) => [name, value ?? ''])
        env = { ...env, ...Object.fromEntries(named), ...data }
      }
      const { settings } = loadSettings({ argv: [], env, readFile })
      assert.notDeepEqual(settings, defaultSettings)
    })
  }

  it('are eleven', () => {
    assert.equal(components.length, 11)
  })

  it('give the pods of shards a priority that takes no running pod its place', () => {
    const folder = 'components/puller-priority'
    const [{ patches }] = read(`${folder}/kustomization.yaml`) as [{ patches: { patch: string }[] }]
    const { data } = parseDocument(patches[0]?.patch ?? '').toJS() as Manifest
    const { settings } = loadSettings({ argv: [], env: { ...data }, readFile })
    const [made] = read(`${folder}/priority-class.yaml`) as [
      Manifest & { preemptionPolicy: string; globalDefault: boolean },
    ]
    assert.equal(made.metadata.name, settings.puller.priorityClass)
    assert.deepEqual([made.preemptionPolicy, made.globalDefault], ['Never', false])
  })

  it('let kip find the nodes that wait for it, also without the roles of the puller', () => {
    assert.deepEqual(permissions('components/startup-gate/rbac.yaml'), [
      '*: nodes get,list,watch,patch',
    ])
  })

  it('have kip bear the taint that it takes from new nodes', () => {
    const [{ patches }] = read('components/startup-gate/kustomization.yaml') as [
      { patches: { patch: string }[] },
    ]
    const [, pod] = patches.map(({ patch }) => parseDocument(patch).toJS())
    assert.deepEqual(pod.spec.template.spec.tolerations, [
      { key: startupTaint, operator: 'Exists' },
    ])
  })

  it('open the one pull secret that they name, and no other', () => {
    const folder = 'components/backup-pull-secret'
    const [{ patches }] = read(`${folder}/kustomization.yaml`) as [{ patches: { patch: string }[] }]
    const { data } = parseDocument(patches[0]?.patch ?? '').toJS() as Manifest
    const { settings } = loadSettings({ argv: [], env: { ...data }, readFile })
    assert.deepEqual(permissions(`${folder}/rbac.yaml`), [
      `*: secrets [${settings.mirror.pullSecret}] list,watch`,
    ])
  })

  it('have cert-manager put what kip asks for where kip looks', () => {
    const made = read('components/cert-manager/certificates.yaml') as (Manifest & {
      spec: { secretName?: string; dnsNames?: string[] }
    })[]
    const served = made.find(({ spec }) => spec.dnsNames !== undefined)
    assert.equal(served?.spec.secretName, 'kip-webhook-certs')
    const names = servingNames({ ...defaultSettings.admission, namespace: 'k8s-image-puller' })
    assert.deepEqual(served?.spec.dnsNames, names)
  })

  it('mount a certificate of the user where kip looks, and may read', () => {
    const [{ patches }] = read('components/certificate-files/kustomization.yaml') as [
      { patches: { patch: string }[] },
    ]
    const { spec } = parseDocument(patches[0]?.patch ?? '').toJS()
    const [{ env, volumeMounts }] = spec.template.spec.containers
    const [volume] = spec.template.spec.volumes
    const variables = Object.fromEntries(
      env.map((one: { name: string; value: string }) => [one.name, one.value]),
    )
    const { settings } = loadSettings({ argv: [], env: variables, readFile })
    assert.equal(settings.admission.certificate, 'files')
    assert.deepEqual(volumeMounts, [
      { name: volume.name, mountPath: settings.admission.certificateFolder, readOnly: true },
    ])
    // kip is not root: what only root may read it could not serve.
    assert.deepEqual(volume.secret, { secretName: 'kip-webhook-tls', defaultMode: 0o444 })
  })

  it('let discovery read the custom resources that they configure, and no more', () => {
    const folder = 'components/custom-workloads'
    const [{ resources, patches }] = read(`${folder}/kustomization.yaml`) as [
      { resources: string[]; patches: { patch: string }[] },
    ]
    assert.deepEqual(resources, ['rbac.yaml'])
    const { data } = parseDocument(patches[0]?.patch ?? '').toJS() as Manifest
    const { settings } = loadSettings({ argv: [], env: { ...data }, readFile })
    assert.deepEqual(
      permissions(`${folder}/rbac.yaml`),
      settings.discovery.templates.map(
        ({ group, plural }) => `*: ${group}/${plural} get,list,watch`,
      ),
    )
  })
})
