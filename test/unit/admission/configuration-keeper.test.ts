import assert from 'node:assert/strict'
import { afterEach, beforeEach, describe, test } from 'node:test'
import type { ServingIdentity } from '../../../certs/identity.ts'
import { issueAuthority } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import { holds } from '../../../certs/pem.ts'
import { configurations, webhookName } from '../../../certs/trusted-bundle.ts'
import {
  keepWebhookConfiguration,
  removeWebhookConfiguration,
} from '../../../src/admission/configuration-keeper.ts'
import { buildConfiguration } from '../../../src/admission/webhook-configuration.ts'
import { defaultSettings } from '../../../src/config/leaves.ts'
import type { Clock } from '../../../src/kube/clock.ts'
import type { ResourcePath } from '../../../src/kube/resource.ts'
import type { LabelSelector, MutatingWebhookConfiguration } from '../../../src/kube/types.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { type FakeKube, type FakeObject, startFakeKube } from '../../support/fake-kube.ts'
import { ManualClock } from '../../support/manual-clock.ts'
import { silentLog } from '../../support/silent-log.ts'
import { waitUntil } from '../../support/wait-until.ts'

const settings = {
  ...defaultSettings,
  mirror: { ...defaultSettings.mirror, registry: 'backup.test' },
}
const slices: ResourcePath = {
  group: 'discovery.k8s.io',
  version: 'v1',
  plural: 'endpointslices',
  namespace: settings.namespace,
}
const roles: ResourcePath = {
  group: 'rbac.authorization.k8s.io',
  version: 'v1',
  plural: 'clusterroles',
}

/** Time that goes faster than it does. */
function fastClock(times: number): Clock {
  return {
    now: () => performance.now() * times,
    timer: (callback, ms) => {
      const timeout = setTimeout(callback, ms / times)
      return () => clearTimeout(timeout)
    },
  }
}

/** Certificates and exclusions that are turned by hand. */
class World {
  bundle = 'first'
  names: string[] = ['k8s-image-puller', 'kube-system']
  readonly trusted: string[] = []
  readonly listeners = new Set<() => void>()
  readonly certificates = {
    current: (): ServingIdentity => ({ certificate: 'c', key: 'k', bundle: this.bundle }),
    refresh: async () => {},
    trusted: (bundle: string): void => {
      this.trusted.push(bundle)
    },
    onChange: (listener: (identity: ServingIdentity) => void) =>
      this.#listen(() => listener(this.certificates.current())),
  }
  readonly exclusions = {
    synced: Promise.resolve(),
    names: () => this.names,
    onChange: (listener: (namespace: string, gone: boolean) => void) =>
      this.#listen(() => listener('n', false)),
  }

  tell(): void {
    for (const listener of this.listeners) listener()
  }

  #listen(listener: () => void): () => void {
    this.listeners.add(listener)
    return () => {
      this.listeners.delete(listener)
    }
  }
}

describe('the keeper of the webhook configuration', { timeout: 60_000 }, () => {
  let kube: FakeKube
  let world: World
  let stop: AbortController
  let running: Promise<void> | undefined
  let log: ReturnType<typeof silentLog>

  beforeEach(async () => {
    kube = await startFakeKube()
    world = new World()
    stop = new AbortController()
    running = undefined
    log = silentLog()
  })
  afterEach(async () => {
    stop.abort()
    await running
    assert.equal(world.listeners.size, 0)
    await kube.stop()
  })

  function start(changes: object = {}, times = 50): void {
    running = keepWebhookConfiguration(
      {
        client: kube.client(),
        settings,
        exclusions: world.exclusions,
        certificates: world.certificates,
        log,
        metrics: createMetrics({ processMetrics: false }),
        clock: fastClock(times),
        ...changes,
      },
      stop.signal,
    )
  }
  const endpoint = (ready: boolean | undefined): void => {
    kube.put(slices, {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: {
        name: 'kip-webhook-x',
        namespace: settings.namespace,
        labels: { 'kubernetes.io/service-name': 'kip-webhook' },
      },
      endpoints: [{ addresses: ['10.0.0.1'], conditions: ready === undefined ? {} : { ready } }],
    } as FakeObject)
  }
  const read = (): MutatingWebhookConfiguration | undefined => kube.get(configurations, 'kip')
  const registered = () => waitUntil('the configuration is made', read)
  const bundleNow = (): string =>
    Buffer.from(read()?.webhooks?.[0]?.clientConfig.caBundle ?? '', 'base64').toString()
  const writes = () =>
    kube.requests.filter(({ method, path }) => method === 'PATCH' && path.endsWith('/kip'))
  const edit = (change: (webhook: Record<string, unknown>) => Record<string, unknown>): void => {
    const found = read() as unknown as FakeObject & { webhooks: Record<string, unknown>[] }
    kube.put(configurations, { ...found, webhooks: found.webhooks.map(change) } as FakeObject)
  }
  const isRepaired = () => {
    const webhook = read()?.webhooks?.[0]
    const wanted = buildConfiguration({ settings, excluded: world.names, bundle: world.bundle })
    try {
      assert.deepEqual(webhook, wanted.webhooks?.[0])
      return read()?.webhooks?.length === 1
    } catch {
      return false
    }
  }

  test('makes it when the Service has a ready endpoint, not before', async () => {
    endpoint(false)
    start()
    const asked = () => kube.requests.filter(({ path }) => path.endsWith('/endpointslices')).length
    await waitUntil('asked twice', () => asked() >= 2)
    assert.equal(read(), undefined)
    endpoint(true)
    await registered()
    assert.ok(isRepaired())
    await waitUntil('the bundle was read back', () => world.trusted.includes('first'))
  })

  test('makes it a minute later, whatever is seen of endpoints', async () => {
    start({}, 500)
    await registered()
    assert.ok(log.lines.some(({ level, message }) => level === 'warn' && /not seen/.test(message)))
  })

  test('makes it at once where it may not look', async () => {
    kube.fault = ({ path }) =>
      path.endsWith('/endpointslices') ? { status: 403, reason: 'Forbidden' } : undefined
    start()
    await registered()
  })

  test('has it go with the role that kip has its rights from', async () => {
    endpoint(undefined)
    const role = { apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'ClusterRole' }
    const { metadata } = kube.put(roles, { ...role, metadata: { name: 'kip-admission' } })
    start()
    await registered()
    assert.deepEqual(read()?.metadata?.ownerReferences, [
      { ...role, name: 'kip-admission', uid: metadata?.uid },
    ])
  })

  const edits: readonly [
    what: string,
    change: (webhook: Record<string, unknown>) => Record<string, unknown>,
  ][] = [
    ['policy', (webhook) => ({ ...webhook, failurePolicy: 'Fail' })],
    ['bundle', (webhook) => ({ ...webhook, clientConfig: { url: 'https://evil.example/' } })],
    [
      'a condition that never holds',
      (webhook) => ({ ...webhook, matchConditions: [{ name: 'never', expression: 'false' }] }),
    ],
    ['another name', (webhook) => ({ ...webhook, name: 'other.images.kip' })],
  ]
  for (const [what, change] of edits) {
    test(`repairs it when somebody edits: ${what}`, async () => {
      endpoint(true)
      start()
      await registered()
      edit(change)
      await waitUntil('it is repaired', isRepaired)
    })
  }

  test('makes it anew when somebody deletes it', async () => {
    endpoint(true)
    start()
    await registered()
    kube.delete(configurations, 'kip')
    await waitUntil('it is there again', () => read() !== undefined && isRepaired())
  })

  test('does not fight without pause against somebody who keeps at it', async () => {
    endpoint(true)
    start({}, 1)
    await registered()
    for (let round = 0; round < 60; round++) {
      edit((webhook) => ({ ...webhook, timeoutSeconds: 10 + round }))
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    // Ten at once, by RepairPace.
    assert.ok(writes().length <= 10, `${writes().length} writes`)
  })

  const narrow = (): void =>
    edit((webhook) => {
      const { matchExpressions = [] } = webhook.namespaceSelector as LabelSelector
      // As the Admissions Enforcer of AKS does with any selector.
      const further = [
        { key: 'control-plane', operator: 'NotIn', values: ['true'] },
        { key: 'kubernetes.azure.com/managedby', operator: 'NotIn', values: ['aks'] },
      ]
      return {
        ...webhook,
        namespaceSelector: { matchExpressions: [...matchExpressions, ...further] },
      }
    })

  test('gives way to a platform that keeps leaving out its own namespaces', async () => {
    endpoint(true)
    start()
    await registered()
    narrow()
    await waitUntil('it is taken out', isRepaired)
    const stands = async (): Promise<void> => {
      const said = () => log.lines.filter(({ message }) => /insists/.test(message)).length
      const [before, written] = [said(), writes().length]
      narrow()
      await waitUntil('it is said to stand', () => said() > before)
      assert.equal(writes().length, written)
    }
    await stands()
    world.bundle = 'second'
    world.tell()
    await waitUntil('what else changes is read back', () => world.trusted.includes('second'))
    assert.equal(isRepaired(), true)
    await stands()
  })

  test('takes in again a namespace that it left out twice itself', async () => {
    endpoint(true)
    start()
    await registered()
    for (let round = 0; round < 2; round++) {
      world.names = [...world.names, 'shop']
      world.tell()
      await waitUntil('it is left out', isRepaired)
      world.names = world.names.slice(0, -1)
      world.tell()
      await waitUntil('it is taken in again', isRepaired)
    }
  })

  test('takes out again what it failed to take out', async () => {
    endpoint(true)
    start()
    await registered()
    let refused = 0
    kube.fault = ({ method }) => {
      if (method !== 'PATCH' || refused === 2) return undefined
      refused++
      return { status: 500 }
    }
    narrow()
    await waitUntil('it is taken out', isRepaired)
    assert.equal(refused, 2)
  })

  test('follows the authorities and the excluded namespaces', async () => {
    endpoint(true)
    start()
    await registered()
    world.bundle = 'first and second'
    world.tell()
    await waitUntil('the new bundle stands', () => bundleNow() === 'first and second')
    await waitUntil('and was read back', () => world.trusted.includes('first and second'))
    world.names = [...world.names, 'shop']
    world.tell()
    await waitUntil('the namespace is left out', isRepaired)
  })

  describe('when somebody replaces the certificate and its authority at once', () => {
    let clock: ManualClock
    let authorities: readonly [string, string]

    const replace = async (): Promise<void> => {
      const options = { now: Date.now(), lifetimes: defaultLifetimes }
      const made = await Promise.all([issueAuthority(options), issueAuthority(options)])
      authorities = [made[0].certificate, made[1].certificate]
      clock = new ManualClock()
      world.bundle = authorities[0]
      endpoint(true)
      start({ clock })
      await registered()
      world.bundle = authorities[1]
      world.tell()
      await waitUntil('the next is trusted, and was read back', () =>
        world.trusted.some((bundle) => holds(bundle, authorities[1])),
      )
    }
    /** Whatever the first look led to is done when there is a second. */
    const looksTwice = async (): Promise<void> => {
      for (let look = 0; look < 2; look++) {
        world.trusted.length = 0
        world.tell()
        await waitUntil('it looked', () => world.trusted.length > 0)
      }
    }

    test('trusts what another replica still serves, for five minutes', async () => {
      await replace()
      assert.ok(holds(bundleNow(), authorities[0]))
      clock.advance(299_000)
      await looksTwice()
      assert.ok(holds(bundleNow(), authorities[0]))
      clock.advance(1_000)
      await waitUntil('only the next is', () => bundleNow() === authorities[1])
    })

    test('trusts it for as long after a change of leader', async () => {
      await replace()
      stop.abort()
      await running
      stop = new AbortController()
      world.trusted.length = 0
      start({ clock })
      await looksTwice()
      assert.ok(holds(bundleNow(), authorities[0]))
      clock.advance(299_000)
      await looksTwice()
      assert.ok(holds(bundleNow(), authorities[0]))
      clock.advance(1_000)
      await waitUntil('only the next is', () => bundleNow() === authorities[1])
    })

    test('does not fight for the former authority against who puts in the next alone', async () => {
      await replace()
      const before = writes().length
      const caBundle = Buffer.from(`${authorities[1]}\n`).toString('base64')
      edit((webhook) => ({
        ...webhook,
        clientConfig: { ...(webhook.clientConfig as object), caBundle },
      }))
      await waitUntil('it is seen', () => world.trusted.includes(`${authorities[1]}\n`))
      await looksTwice()
      assert.equal(writes().length, before)
    })
  })

  test('writes nothing when nothing changed', async () => {
    endpoint(true)
    start()
    await registered()
    // What it wrote last may not have come back by the watch yet, and would be written once more.
    await waitUntil('it was read back', () => world.trusted.length > 0)
    const before = writes().length
    for (let round = 0; round < 5; round++) {
      world.tell()
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    assert.equal(writes().length, before)
  })

  test('a second leader writes nothing over what is right', async () => {
    endpoint(true)
    start()
    await registered()
    stop.abort()
    await running
    const before = writes().length
    world.trusted.length = 0
    stop = new AbortController()
    start()
    await waitUntil('the second read it', () => world.trusted.length > 0)
    assert.equal(writes().length, before)
  })

  test('goes on after errors', async () => {
    endpoint(true)
    let refused = 0
    kube.fault = ({ method }) => {
      if (method !== 'PATCH' || refused === 3) return undefined
      refused++
      return { status: 500 }
    }
    start()
    await registered()
    assert.equal(refused, 3)
  })

  test('ends when it is stopped, whatever it waits for', async () => {
    start({ exclusions: { ...world.exclusions, synced: new Promise(() => {}) } })
    stop.abort()
    await running
    stop = new AbortController()
    kube.fault = () => 'hang'
    start()
    await waitUntil('it asks', () => kube.requests.length > 0)
    stop.abort()
    await running
  })

  test('takes it away where pods are not to be rewritten', async () => {
    const wanted = buildConfiguration({ settings, excluded: [], bundle: '' })
    const never = { ...settings, admission: { ...settings.admission, rewrite: 'never' } }
    for (const without of [never, defaultSettings]) {
      kube.put(configurations, wanted as FakeObject)
      await keepWebhookConfiguration(
        {
          client: kube.client(),
          settings: without as typeof settings,
          exclusions: world.exclusions,
          certificates: world.certificates,
          log,
          metrics: createMetrics({ processMetrics: false }),
        },
        stop.signal,
      )
      assert.equal(read(), undefined)
    }
  })

  test('leaves a configuration of that name that is not its own, and one that it may not see', async () => {
    const foreign = buildConfiguration({ settings, excluded: [], bundle: '' })
    const webhooks = foreign.webhooks?.map((webhook) => ({ ...webhook, name: 'a.b.c' }))
    kube.put(configurations, { ...foreign, webhooks } as FakeObject)
    await removeWebhookConfiguration({ client: kube.client(), log }, stop.signal)
    assert.notEqual(read()?.webhooks?.[0]?.name, webhookName)
    kube.fault = () => ({ status: 403, reason: 'Forbidden' })
    await removeWebhookConfiguration({ client: kube.client(), log }, stop.signal)
  })
})
