import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { quantityValue } from '../../../src/config/quantity.ts'
import type { Container, PodSpec } from '../../../src/kube/types.ts'
import { buildDaemonSet, readDaemonSet } from '../../../src/puller/daemon-set.ts'
import type { Shard, ShardKind } from '../../../src/puller/shard.ts'
import type { StrategyName } from '../../../src/puller/strategies/strategies.ts'
import { pullerSettings } from './driver.ts'

const shard = (kind: ShardKind): Shard => ({
  kind,
  index: 1,
  members: [
    { container: 'nginx', reference: 'docker.io/library/nginx:1.27' },
    { container: 'redis', reference: 'backup.test:5001/redis:7@sha256:0' },
  ],
})
const options = {
  namespace: 'kip',
  settings: pullerSettings,
  strategy: 'init' as StrategyName,
  owner: undefined,
}
const specOf = (
  kind: ShardKind,
  settings = pullerSettings,
  strategy: StrategyName = 'init',
): PodSpec =>
  buildDaemonSet(shard(kind), { ...options, settings, strategy }).spec?.template?.spec ?? {}

describe('buildDaemonSet', () => {
  for (const [kind, strategy, golden] of [
    ['holding', 'init', 'holding'],
    ['fresh', 'init', 'fresh'],
    ['holding', 'volume', 'holding-volume'],
    ['fresh', 'volume', 'fresh-volume'],
  ] as const) {
    // A changed template rolls every shard of every user at an upgrade: this must not happen unnoticed.
    // KIP_UPDATE_GOLDEN=1 writes the files anew.
    it(`gives the ${kind} shard the template that it always had under ${strategy}`, () => {
      const made = buildDaemonSet(shard(kind), { ...options, strategy })
      const file = new URL(`golden/${golden}.json`, import.meta.url)
      if (process.env.KIP_UPDATE_GOLDEN === '1') writeFileSync(file, JSON.stringify(made))
      assert.deepEqual(made, JSON.parse(readFileSync(file, 'utf8')))
    })
  }

  const layouts = (['holding', 'originals', 'fresh', 'apart'] as const).flatMap((kind) =>
    (['init', 'sleep', 'volume'] as const).map((strategy) => ({ kind, strategy })),
  )
  for (const { kind, strategy } of layouts) {
    it(`keeps to Pod Security restricted in the ${kind} shard under ${strategy}`, () => {
      const spec = specOf(kind, pullerSettings, strategy)
      assert.equal(spec.securityContext?.runAsNonRoot, true)
      assert.equal(spec.securityContext?.seccompProfile?.type, 'RuntimeDefault')
      assert.equal(spec.automountServiceAccountToken, false)
      assert.equal(spec.hostNetwork, undefined)
      for (const container of all(spec)) {
        assert.equal(container.securityContext?.allowPrivilegeEscalation, false)
        assert.deepEqual(container.securityContext?.capabilities, { drop: ['ALL'] })
        assert.equal(container.securityContext?.readOnlyRootFilesystem, true)
        assert.ok(container.resources?.requests?.cpu && container.resources.requests.memory)
        assert.ok(container.resources?.limits?.cpu && container.resources.limits.memory)
        assert.equal(container.imagePullPolicy, 'IfNotPresent')
      }
      for (const volume of spec.volumes ?? []) assert.ok(volume.emptyDir ?? volume.image)
    })

    it(`can be read back from the ${kind} shard under ${strategy}`, () => {
      const read = readDaemonSet(buildDaemonSet(shard(kind), { ...options, strategy }), 'kip')
      assert.deepEqual(
        { kind: read?.kind, index: read?.index, members: read?.members },
        shard(kind),
      )
    })
  }

  it('reserves the same however many images there are', () => {
    for (const { kind, strategy } of layouts) {
      if (strategy === 'sleep') continue
      const { initContainers = [], containers = [] } = specOf(kind, pullerSettings, strategy)
      const cpu = (list: readonly Container[]): string[] =>
        list.map(({ resources }) => resources?.requests?.cpu ?? '')
      const many = cpu([...initContainers, ...containers]).filter((text) => text !== '0')
      assert.ok(many.every((text) => text === '10m'))
      assert.ok(cpu(containers).filter((text) => text !== '0').length <= 1)
    }
  })

  it('gives CACHING_* to the holder under init and to each image under sleep', () => {
    const set = { ...pullerSettings, cpuRequest: '.05', memoryRequest: '10Mi' }
    const holder = specOf('holding', set).containers ?? []
    assert.deepEqual(
      holder.map(({ resources }) => resources?.requests?.memory),
      ['10Mi'],
    )
    const sleepers = specOf('holding', set, 'sleep').containers ?? []
    assert.deepEqual(
      sleepers.map(({ resources }) => resources?.requests?.cpu),
      ['.05', '.05'],
    )
  })

  const halves = [
    ['memoryLimit', '10Mi', { memory: ['10Mi', '10Mi'], cpu: ['10m', '200m'] }],
    ['memoryRequest', '1Gi', { memory: ['1Gi', '1Gi'], cpu: ['10m', '200m'] }],
    ['cpuLimit', '.005', { memory: ['16Mi', '32Mi'], cpu: ['.005', '.005'] }],
    ['cpuRequest', '1', { memory: ['16Mi', '32Mi'], cpu: ['1', '1'] }],
    ['memoryLimit', '1G', { memory: ['16Mi', '1G'], cpu: ['10m', '200m'] }],
    ['cpuRequest', '0', { memory: ['16Mi', '32Mi'], cpu: ['0', '200m'] }],
  ] as const
  for (const [key, value, { memory, cpu }] of halves) {
    it(`never asks for more than the limit where ${key} alone is ${value}`, () => {
      const set = { ...pullerSettings, [key]: value }
      const [holder] = specOf('holding', set).containers ?? []
      const { requests, limits } = holder?.resources ?? {}
      assert.deepEqual([requests?.memory, limits?.memory], memory)
      assert.deepEqual([requests?.cpu, limits?.cpu], cpu)
      for (const { kind, strategy } of layouts) {
        for (const { resources } of all(specOf(kind, set, strategy))) {
          for (const name of ['cpu', 'memory']) {
            const [request, limit] = [resources?.requests?.[name], resources?.limits?.[name]]
            const fits = quantityValue(request ?? '') <= quantityValue(limit ?? '')
            assert.ok(fits, `${kind}, ${strategy}: ${name} ${request} of ${limit}`)
          }
        }
      }
    })
  }

  it('mounts every image under volume: what is not mounted is not kept', () => {
    for (const kind of ['holding', 'fresh'] as const) {
      const {
        initContainers,
        containers = [],
        volumes = [],
      } = specOf(kind, pullerSettings, 'volume')
      assert.deepEqual(initContainers, [])
      assert.equal(containers.length, kind === 'holding' ? 1 : 2)
      assert.ok(containers.every(({ image }) => image === pullerSettings.sleepImage))
      assert.deepEqual(
        containers.flatMap(({ volumeMounts = [] }) => volumeMounts.map(({ name }) => name)),
        volumes.map(({ name }) => name),
      )
      for (const { volumeMounts = [] } of containers) {
        const paths = volumeMounts.map(({ mountPath }) => mountPath)
        assert.equal(new Set(paths).size, paths.length)
      }
    }
  })

  it("copies the program out of upstream's image by its shell, which knows no infinity", () => {
    const sleepImage = 'quay.io/eclipse/kubernetes-image-puller:next'
    const { initContainers = [], containers = [] } = specOf('holding', {
      ...pullerSettings,
      sleepImage,
    })
    assert.deepEqual(initContainers[0]?.command, ['/bin/sh', '-c', 'cp /bin/sleep /kip/sleep'])
    assert.deepEqual(containers[0]?.command, ['/kip/sleep', '720h'])
  })

  it('asks so many nodes at once for what they pull, and a quarter for what they hold', () => {
    const settings = { ...pullerSettings, nodesAtOnce: 7 }
    const surge = (kind: ShardKind, more: Partial<Shard> = {}): unknown =>
      buildDaemonSet({ ...shard(kind), ...more }, { ...options, settings }).spec?.updateStrategy
        ?.rollingUpdate?.maxSurge
    assert.deepEqual([surge('holding'), surge('originals')], ['25%', '25%'])
    assert.deepEqual([surge('fresh'), surge('refresh')], [7, 7])
    assert.deepEqual([surge('fresh', { unpaced: true }), surge('apart')], ['100%', '100%'])
  })

  it('puts selector, affinity, tolerations, secrets and annotations where KIP does', () => {
    const set = {
      ...pullerSettings,
      nodeSelector: { disk: 'ssd' },
      affinity: { nodeAffinity: {} },
      tolerations: [{ operator: 'Exists' }],
      imagePullSecrets: ['regcred'],
      daemonSetAnnotations: { team: 'x' },
      priorityClass: 'kip-puller',
    }
    const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'kip', uid: 'u' }
    const made = buildDaemonSet(shard('holding'), { ...options, settings: set, owner })
    const spec = made.spec?.template?.spec
    assert.deepEqual(spec?.nodeSelector, { 'kubernetes.io/os': 'linux', disk: 'ssd' })
    assert.deepEqual(spec?.affinity, { nodeAffinity: {} })
    assert.equal(spec?.priorityClassName, 'kip-puller')
    assert.deepEqual(spec?.tolerations, [{ operator: 'Exists' }])
    assert.deepEqual(spec?.imagePullSecrets, [{ name: 'regcred' }])
    assert.equal(made.metadata?.annotations?.team, 'x')
    assert.deepEqual(made.metadata?.ownerReferences, [owner])
  })

  it('gives the same fingerprint whatever the order of settings', () => {
    const one = { ...pullerSettings, nodeSelector: { a: '1', b: '2' } }
    const two = { ...pullerSettings, nodeSelector: { b: '2', a: '1' } }
    assert.deepEqual(
      buildDaemonSet(shard('holding'), { ...options, settings: one }).metadata?.annotations,
      buildDaemonSet(shard('holding'), { ...options, settings: two }).metadata?.annotations,
    )
  })

  it('takes nothing for its own that another puller or KIP made', () => {
    const other = { ...pullerSettings, daemonSetName: 'other' }
    const made = buildDaemonSet(shard('holding'), { ...options, settings: other })
    assert.equal(readDaemonSet(made, 'kip'), undefined)
    assert.equal(readDaemonSet({ metadata: { name: 'kip' } }, 'kip'), undefined)
  })
})

function all({ initContainers = [], containers = [] }: PodSpec): readonly Container[] {
  return [...initContainers, ...containers]
}
