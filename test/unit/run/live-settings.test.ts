import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { loadSettings } from '../../../src/config/load.ts'
import type { Settings } from '../../../src/config/settings.ts'
import { type Clock, systemClock } from '../../../src/kube/clock.ts'
import { Doubt } from '../../../src/kube/doubt.ts'
import { LiveSettings } from '../../../src/live-settings.ts'
import { createLog } from '../../../src/metrics/log.ts'
import { type FakeKube, startFakeKube } from '../../support/fake-kube.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { waitUntil } from '../../support/wait-until.ts'

const namespace = 'kip'
const maps = { group: '', version: 'v1', plural: 'configmaps', namespace }
const deployments = { group: 'apps', version: 'v1', plural: 'deployments', namespace }
const env = {
  NAMESPACE: namespace,
  DEPLOYMENT_NAME: 'puller',
  IMAGES: 'a=r.test/a:1',
  NODE_SELECTOR: '{"a": "1"}',
}

describe('LiveSettings', () => {
  let kube: FakeKube
  let stop: () => Promise<void>
  let seen: Settings[]
  let said: string[]

  beforeEach(async () => {
    kube = await startFakeKube()
    seen = []
    said = []
    deploy(
      { configMapRef: { name: 'kip' } },
      { prefix: 'CACHING_', configMapRef: { name: 'more' } },
    )
    put('kip', { IMAGES: env.IMAGES, NODE_SELECTOR: env.NODE_SELECTOR })
    put('more', {})
  })
  afterEach(async () => {
    await stop()
    await kube.stop()
  })

  function deploy(...envFrom: readonly object[]): void {
    const containers = [{ name: 'kip', env: [{ name: 'DAEMONSET_NAME', value: 'own' }], envFrom }]
    kube.put(deployments, {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'puller', namespace },
      spec: { template: { spec: { containers } } },
    })
  }

  function put(name: string, data: Readonly<Record<string, string>>): void {
    kube.put(maps, { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace }, data })
  }

  function start(clock: Clock = systemClock): void {
    const client = kube.client()
    const { settings } = loadSettings({ argv: [], env, readFile: () => '' })
    const live = new LiveSettings({
      doubt: new Doubt({ client, clock }),
      ...{ client, settings, argv: [], env, readFile: () => '', clock },
      log: createLog({ level: 'info' }, { write: (line) => said.push(JSON.parse(line).msg) }),
    })
    const controller = new AbortController()
    const { signal } = controller
    const part = live.part((settings) => (round) => {
      seen.push(settings)
      return new Promise((resolve) => round.addEventListener('abort', () => resolve()))
    })
    const ended = Promise.all([live.follow(signal), part(signal)])
    stop = async () => {
      controller.abort()
      await ended
      await client.close()
    }
  }

  const images = (): string => (seen.at(-1)?.puller.images ?? []).map(({ image }) => image).join()

  it('begins its part anew with what the ConfigMaps say, by precedence and prefix', async () => {
    start()
    await waitUntil('the part', () => seen.length === 1)
    put('kip', { IMAGES: 'b=r.test/b:2', DAEMONSET_NAME: 'other' })
    put('more', { CPU_REQUEST: '5m' })
    await waitUntil('the change', () => images() === 'r.test/b:2')
    await waitUntil('the other', () => seen.at(-1)?.puller.cpuRequest === '5m')
    assert.deepEqual(seen.at(-1)?.puller.nodeSelector, {}, 'what was removed is at its default')
    assert.equal(seen[0]?.puller.daemonSetName, seen.at(-1)?.puller.daemonSetName)
  })

  it('leaves out as a whole what has a fault in it', async () => {
    start()
    await waitUntil('the part', () => seen.length === 1)
    put('kip', { IMAGES: 'b=r.test/b:2', NODE_SELECTOR: '[' })
    put('kip', { IMAGES: 'c=r.test/c:3', NODE_SELECTOR: '{"a": "1"}' })
    await waitUntil('the next good one', () => images() === 'r.test/c:3')
    assert.deepEqual(
      seen.map(({ puller }) => puller.images[0]?.name),
      ['a', 'c'],
    )
  })

  it('says once what is wrong in a ConfigMap that is read again', async () => {
    const reads = (): number =>
      kube.requests.filter(({ path, query }) => path.endsWith('/kip') && !query.watch).length
    const faults = (): number => said.filter((line) => line.includes('not taken')).length
    start()
    await waitUntil('the part', () => seen.length === 1)
    put('kip', { NODE_SELECTOR: '[' })
    await waitUntil('the fault', () => faults() > 0)
    const before = reads()
    kube.endWatches()
    await waitUntil('another read', () => reads() > before)
    put('kip', { IMAGES: 'b=r.test/b:2' })
    await waitUntil('the next good one', () => images() === 'r.test/b:2')
    assert.equal(faults(), 1)
  })

  it('goes on as it began where ConfigMaps may not be read', async () => {
    kube.fault = ({ path }) =>
      path.includes('configmaps') ? { status: 403, reason: 'Forbidden' } : undefined
    start()
    await waitUntil('the question', () =>
      kube.requests.some(({ path }) => path.includes('configmaps')),
    )
    await waitUntil('the part', () => images() === 'r.test/a:1')
    assert.equal(kube.watches, 0)
  })

  it('does not wait for ConfigMaps that may be read and not watched', async () => {
    kube.fault = ({ path, query }) =>
      path.endsWith('/configmaps') && query.watch === 'true'
        ? { status: 403, reason: 'Forbidden' }
        : undefined
    const clock = new ManualClock()
    start(clock)
    await waitUntil('the part', () => images() === 'r.test/a:1')
    await waitUntil('both to wait', () => clock.pending === 2)
    assert.equal(said.filter((line) => line.includes('may not be watched')).length, 1)
    kube.fault = undefined
    put('kip', { IMAGES: 'b=r.test/b:2' })
    clock.advance(2_000)
    await waitUntil('the change, once they may be', () => images() === 'r.test/b:2')
  })

  it('takes changes although a server that starts refused what it allows', async () => {
    const clock = new ManualClock()
    kube.fault = () => ({ status: 403, reason: 'Forbidden' })
    start(clock)
    await waitUntil('the doubt', () => kube.requests.some(({ path }) => path === '/readyz'))
    await waitUntil('the wait', () => clock.pending === 2)
    assert.equal(seen.length, 0)
    kube.fault = undefined
    put('kip', { IMAGES: 'b=r.test/b:2' })
    clock.advance(1_000)
    await waitUntil('the part', () => images() === 'r.test/b:2')
    assert.equal(seen.length, 1, 'the settings of the start count for nothing')
  })

  it('takes changes while an optional ConfigMap is not there, and its own when it is', async () => {
    deploy(
      { configMapRef: { name: 'kip' } },
      { prefix: 'CACHING_', configMapRef: { name: 'extra', optional: true } },
    )
    start()
    await waitUntil('the part', () => seen.length === 1)
    put('kip', { IMAGES: 'b=r.test/b:2' })
    await waitUntil('the change', () => images() === 'r.test/b:2')
    put('extra', { CPU_REQUEST: '5m' })
    await waitUntil('what it says', () => seen.at(-1)?.puller.cpuRequest === '5m')
    kube.delete(maps, 'extra')
    await waitUntil('its end', () => seen.at(-1)?.puller.cpuRequest === '')
  })

  it('says which ConfigMap is missing, and takes no change without it', async () => {
    start()
    await waitUntil('the part', () => seen.length === 1)
    const words = (): number => said.filter((line) => line.includes('missing')).length
    kube.delete(maps, 'more')
    await waitUntil('the word', () => words() >= 1)
    put('kip', { IMAGES: 'b=r.test/b:2' })
    await waitUntil('another', () => words() >= 2)
    assert.equal(images(), 'r.test/a:1')
    put('more', {})
    await waitUntil('the change', () => images() === 'r.test/b:2')
  })

  it('begins no part with settings that are older than the ConfigMaps', async () => {
    put('kip', { IMAGES: 'b=r.test/b:2' })
    start()
    await waitUntil('the part', () => seen.length > 0)
    assert.deepEqual(
      seen.map(({ puller }) => puller.images[0]?.name),
      ['b'],
    )
  })

  it('takes changes after an error that passes', async () => {
    const clock = new ManualClock()
    kube.fault = ({ path }) => (path.includes('configmaps') ? { status: 500 } : undefined)
    put('kip', { IMAGES: 'b=r.test/b:2' })
    start(clock)
    await waitUntil('the error', () => said.some((line) => line.includes('trying again')))
    kube.fault = undefined
    clock.advance(2_000)
    await waitUntil('the part', () => images() === 'r.test/b:2')
    put('kip', { IMAGES: 'c=r.test/c:3' })
    await waitUntil('the change', () => images() === 'r.test/c:3')
    assert.equal(seen.length, 2, 'the settings of the start count for nothing')
  })

  it('begins as it started where the ConfigMaps do not answer for long', async () => {
    const clock = new ManualClock()
    kube.fault = ({ path }) => (path.includes('configmaps') ? 'hang' : undefined)
    start(clock)
    await waitUntil('the question', () =>
      kube.requests.some(({ path }) => path.includes('configmaps')),
    )
    assert.equal(seen.length, 0)
    clock.advance(60_000)
    await waitUntil('the part', () => images() === 'r.test/a:1')
  })
})
