/** KIP's own ways of being installed, as they stand, with kip's image in its place. */
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { loadSettings } from '../../../src/config/load.ts'
import type { Settings } from '../../../src/config/settings.ts'
import { buildDaemonSet } from '../../../src/puller/daemon-set.ts'

/** Values of KIP's chart, and the data of its ConfigMap as Helm renders them. */
const chartValues = {
  images: 'che-code=quay.io/che-incubator/che-code:next; base=quay.io/devfile/base:ubi9-latest;\n',
  cachingIntervalHours: '1',
  cachingMemoryRequest: '10Mi',
  cachingMemoryLimit: '20Mi',
  cachingCpuRequest: '.05',
  cachingCpuLimit: '.2',
  daemonsetAnnotations: '{}',
  nodeSelector: '{}',
  imagePullSecrets: '',
  affinity: '{}',
  tolerations: '[]',
}

function chart(values: Partial<typeof chartValues>): Readonly<Record<string, string>> {
  const all = { ...chartValues, ...values }
  return {
    // The container's own.
    DEPLOYMENT_NAME: 'kubernetes-image-puller',
    // envFrom.
    IMAGES: all.images,
    DAEMONSET_NAME: 'kubernetes-image-puller',
    DAEMONSET_ANNOTATIONS: all.daemonsetAnnotations,
    CACHING_INTERVAL_HOURS: all.cachingIntervalHours,
    NAMESPACE: 'k8s-image-puller',
    CACHING_MEMORY_REQUEST: all.cachingMemoryRequest,
    CACHING_MEMORY_LIMIT: all.cachingMemoryLimit,
    CACHING_CPU_REQUEST: all.cachingCpuRequest,
    CACHING_CPU_LIMIT: all.cachingCpuLimit,
    NODE_SELECTOR: all.nodeSelector,
    IMAGE_PULL_SECRETS: all.imagePullSecrets,
    AFFINITY: all.affinity,
    TOLERATIONS: all.tolerations,
    KIP_IMAGE: 'registry.example.com/kip:0.1.0',
  }
}

/** What `oc process` makes of KIP's ConfigMap: parameters are put in as text. */
const template = `
IMAGES: >
  che-code=quay.io/che-incubator/che-code:next;
  base=quay.io/devfile/base:ubi9-latest;
DAEMONSET_NAME: "kubernetes-image-puller"
CACHING_INTERVAL_HOURS: "1"
NAMESPACE: "k8s-image-puller"
CACHING_MEMORY_REQUEST: "10Mi"
CACHING_MEMORY_LIMIT: "20Mi"
CACHING_CPU_REQUEST: ".05"
CACHING_CPU_LIMIT: ".2"
NODE_SELECTOR: "{}"
IMAGE_PULL_SECRETS: ""
AFFINITY: "{}"
KIP_IMAGE: registry.example.com/kip:0.1.0
TOLERATIONS: "[]"
`

function load(env: Readonly<Record<string, string>>): Settings {
  const { settings, warnings } = loadSettings({ argv: [], env, readFile: () => '' })
  assert.deepEqual(warnings, [])
  return settings
}

const images = [
  { name: 'che-code', image: 'quay.io/che-incubator/che-code:next' },
  { name: 'base', image: 'quay.io/devfile/base:ubi9-latest' },
]

describe("KIP's own installations", () => {
  it('start with the values of its chart', () => {
    const { namespace, puller } = load(chart({}))
    assert.equal(namespace, 'k8s-image-puller')
    assert.deepEqual(puller.images, images)
    assert.equal(puller.deploymentName, 'kubernetes-image-puller')
    assert.deepEqual([puller.cpuRequest, puller.memoryLimit], ['.05', '20Mi'])
  })

  it('start with its OpenShift template', () => {
    const data: Record<string, string> = parse(template)
    const { puller } = load({ ...data, DEPLOYMENT_NAME: 'kubernetes-image-puller' })
    assert.deepEqual(puller.images, images)
  })

  const tolerations = [{ key: 'foo', operator: 'Equal', value: 'bar' }]
  for (const [how, text] of [
    ['JSON', JSON.stringify(tolerations)],
    ['JSON with its quotes escaped', JSON.stringify(tolerations).replaceAll('"', '\\"')],
    ['YAML', '- key: foo\n  operator: Equal\n  value: bar\n'],
  ] as const) {
    it(`take maps and lists in ${how}`, () => {
      const { puller } = load(chart({ tolerations: text }))
      assert.deepEqual(puller.tolerations, tolerations)
    })
  }

  for (const [strategy, each] of [
    ['sleep', true],
    ['init', false],
    ['volume', false],
  ] as const) {
    it(`ask what CACHING_… says ${each ? 'for each image' : 'for a pod'} under ${strategy}`, () => {
      const { namespace, puller } = load({ ...chart({}), KIP_PULLER_STRATEGY: strategy })
      const members = images.map(({ name, image }) => ({ container: name, reference: image }))
      const shard = { kind: 'holding', index: 1, members } as const
      const object = buildDaemonSet(shard, {
        namespace,
        settings: puller,
        strategy,
        owner: undefined,
      })
      assert.equal(object.metadata?.name, 'kubernetes-image-puller')
      const { containers = [] } = object.spec?.template?.spec ?? {}
      assert.equal(containers.length, each ? images.length : 1)
      for (const { resources } of containers) {
        assert.equal(resources?.requests?.cpu, '.05')
        assert.equal(resources?.limits?.memory, '20Mi')
      }
    })
  }

  it('hold an image by a name that no container may have, and skip only what is malformed', () => {
    const { settings, warnings } = loadSettings({
      argv: [],
      env: chart({ images: 'Che_Code=quay.io/che:next;nothing;base=quay.io/base:1' }),
      readFile: () => '',
    })
    assert.deepEqual(
      settings.puller.images.map(({ image }) => image),
      ['quay.io/che:next', 'quay.io/base:1'],
    )
    assert.equal(warnings.length, 2)
  })
})
