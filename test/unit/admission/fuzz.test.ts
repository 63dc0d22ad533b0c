import assert from 'node:assert/strict'
import { before, describe, test } from 'node:test'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import jsonPatch from 'fast-json-patch'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import { admissionMetrics } from '../../../src/admission/admission-metrics.ts'
import { createHandler } from '../../../src/admission/handler.ts'
import { defaultLimits } from '../../../src/admission/limits.ts'
import { buildServer } from '../../../src/admission/server.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import {
  copyOf,
  known,
  mapping,
  mirrored,
  settings,
  storeOf,
} from '../../support/admission-world.ts'
import { mutateJson, randomFrom } from '../../support/mutations.ts'
import { ephemeralReviewOf, reviewOf } from '../../support/pods.ts'
import { silentLog } from '../../support/silent-log.ts'

const long = process.env.KIP_TEST_LONG === '1'
const runs = long ? 100_000 : 2_000

const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: {
    generateName: 'web-',
    labels: { app: 'web', 'images.kip/ignore': 'false' },
    annotations: { 'images.kip/original-images': '{"side":"quay.io/a/b:2"}', 'a/b': 'c' },
    ownerReferences: [
      { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'web', uid: 'u', controller: true },
    ],
  },
  spec: {
    imagePullSecrets: [{ name: 'own' }, { name: 'kip-backup' }],
    containers: [
      {
        name: 'web',
        image: 'nginx:1',
        imagePullPolicy: 'IfNotPresent',
        ports: [{ containerPort: 80 }],
      },
      { name: 'side', image: copyOf('quay.io/a/b:2'), env: [{ name: 'A', value: 'b' }] },
    ],
    initContainers: [{ name: 'init', image: 'busybox:1', command: ['true'] }],
    ephemeralContainers: [{ name: 'debug-1', image: 'nginx:1' }],
    volumes: [
      { name: 'data', image: { reference: 'quay.io/a/b:2', pullPolicy: 'Always' } },
      { name: 'tmp', emptyDir: {} },
    ],
  },
}
const added = { name: 'debug-2', image: 'nginx:1' }
const seeds = [
  reviewOf(pod),
  reviewOf({ ...pod, spec: { ...pod.spec, imagePullSecrets: [{ name: 'own' }] } }),
  reviewOf(pod, { dryRun: true }),
  reviewOf(pod, { namespace: 'kube-system' }),
  ephemeralReviewOf(
    {
      ...pod,
      spec: { ...pod.spec, ephemeralContainers: [...pod.spec.ephemeralContainers, added] },
    },
    pod,
  ),
]

const log = silentLog()
let cpuMs = 0
let app: ReturnType<typeof buildServer>
before(async () => {
  const options = { now: Date.now(), lifetimes: defaultLifetimes }
  const pair = await issueServing(await issueAuthority(options), { ...options, names: ['x'] })
  const metrics = admissionMetrics(createMetrics({ processMetrics: false }))
  const handler = createHandler({
    store: storeOf(mirrored('nginx:1'), mirrored('quay.io/a/b:2'), known('busybox:1')),
    exclusions: { excluded: (namespace) => namespace === 'kube-system' },
    workloads: { ownsPod: () => false },
    stopped: { has: (uid) => uid === 'x' },
    pullSecret: { name: 'kip-backup', in: (namespace) => namespace === 'shop' },
    canChangePolicy: true,
    mapping,
    settings: {
      ...settings,
      admission: {
        ...settings.admission,
        pullPolicy: 'IfNotPresent',
        rules: [
          { namespaces: ['never-*'], rewrite: 'never' },
          { namespaces: ['sh?p'], images: ['**/x', 'docker.io/**:9'], rewrite: 'failover' },
        ],
      },
    },
    log,
    metrics,
    sight: () => {},
  })
  app = buildServer({
    path: '/mutate',
    handler: (body, overloaded) => {
      const start = process.threadCpuUsage()
      try {
        return handler(body, overloaded)
      } finally {
        const { user, system } = process.threadCpuUsage(start)
        cpuMs = (user + system) / 1_000
      }
    },
    pair,
    metrics,
    limits: defaultLimits,
    onFault: (error) => assert.fail(String(error)),
  })
})

async function post(payload: string): Promise<{ status: number; body: string }> {
  const headers = { 'content-type': 'application/json' }
  const { statusCode, body } = await app.inject({
    method: 'POST',
    url: '/mutate',
    headers,
    payload,
  })
  return { status: statusCode, body }
}

/** What every answer has to be, whatever was asked. */
function check(sent: string, status: number, body: string): 'patched' | 'left' | 'refused' {
  const answer = JSON.parse(body)
  if (status !== 200) {
    assert.ok(status >= 400 && status < 500, `status ${status}`)
    assert.ok(answer.message.length < 300, answer.message)
    return 'refused'
  }
  const { request } = JSON.parse(sent)
  assert.equal(answer.response.uid, request.uid)
  assert.equal(answer.response.allowed, true)
  for (const text of Object.values<string>(answer.response.auditAnnotations)) {
    assert.ok(text.length <= 2_048)
  }
  if (answer.response.patch === undefined) return 'left'
  const patch = JSON.parse(Buffer.from(answer.response.patch, 'base64').toString())
  jsonPatch.applyPatch(structuredClone(request.object), patch, true)
  return 'patched'
}

function collected(): number {
  setFlagsFromString('--expose-gc')
  runInNewContext('gc')()
  return process.memoryUsage().heapUsed
}

describe(`${runs} mutated reviews`, { timeout: 900_000 }, () => {
  test('crash nothing, get no 5xx, and a patch only of what they hold', async () => {
    const seed = long ? Date.now() : 20_261_121
    const random = randomFrom(seed)
    const seen = { patched: 0, left: 0, refused: 0 }
    let slowest = 0
    let heapBefore = 0
    for (let run = 0; run < runs; run++) {
      const sent = mutateJson(seeds[run % seeds.length], random)
      try {
        const { status, body } = await post(sent)
        seen[check(sent, status, body)]++
      } catch (error) {
        throw new Error(`seed ${seed}, run ${run}: ${sent}`, { cause: error })
      }
      slowest = Math.max(slowest, cpuMs)
      if (run === runs / 5) heapBefore = collected()
    }
    const grownMb = (collected() - heapBefore) / 2 ** 20
    assert.ok(slowest < 50, `${slowest} ms of CPU for one answer`)
    assert.ok(grownMb < 8, `the heap grew by ${grownMb} MB`)
    assert.deepEqual(
      log.lines.filter(({ level }) => level === 'error'),
      [],
    )
    for (const [kind, count] of Object.entries(seen))
      assert.ok(count > runs / 40, `${count} ${kind}`)
  })
})

describe('an image string that is made to be slow', { timeout: 60_000 }, () => {
  const size = 300_000
  const times = (text: string): string => text.repeat(size / text.length)
  const strings: Readonly<Record<string, string>> = {
    letters: times('a'),
    dashes: `${times('a-')}!`,
    dots: `${times('a.')}/b`,
    slashes: times('a/'),
    underscores: `${times('a__')}!`,
    'upper case': times('A'),
    colons: times(':'),
    ats: times('@'),
    digest: `a@sha256:${times('f')}`,
    'separators only': times('-'),
    'white space': `${times(' ')}a`,
    brackets: `${times('[')}/a`,
  }
  for (const [what, image] of Object.entries(strings)) {
    test(`${what}: is left alone within 50 ms`, async () => {
      const { status, body } = await post(
        JSON.stringify(reviewOf({ spec: { containers: [{ name: 'web', image }] } })),
      )
      assert.equal(status, 200)
      assert.equal(JSON.parse(body).response.patch, undefined)
      assert.ok(cpuMs < 50, `${cpuMs} ms`)
    })
  }
})
