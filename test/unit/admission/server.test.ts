import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Agent, type RequestOptions, request } from 'node:https'
import { createConnection } from 'node:net'
import { before, describe, type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, type TLSSocket } from 'node:tls'
import type { Authority, ServingIdentity } from '../../../certs/identity.ts'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import { type AdmissionOptions, createAdmission } from '../../../src/admission/admission.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { copyOf, mapping, mirrored, settings, storeOf } from '../../support/admission-world.ts'
import { reviewOf } from '../../support/pods.ts'
import { silentLog } from '../../support/silent-log.ts'

const pod = { spec: { containers: [{ name: 'web', image: 'nginx:1' }] } }
const review = JSON.stringify(reviewOf(pod))
const lifetime = { now: Date.now(), lifetimes: defaultLifetimes }
let authority: Authority
let first: ServingIdentity
let second: ServingIdentity

before(async () => {
  authority = await issueAuthority(lifetime)
  first = await issue()
  second = await issue()
})

async function issue(): Promise<ServingIdentity> {
  const pair = await issueServing(authority, { ...lifetime, names: ['localhost', '127.0.0.1'] })
  return { ...pair, bundle: authority.certificate }
}

/** A source whose certificate is changed by hand. */
class Certificates {
  readonly loaded = Promise.resolve()
  #listener: (identity: ServingIdentity) => void = () => {}
  #current = first
  current = () => this.#current
  onChange = (listener: (identity: ServingIdentity) => void) => {
    this.#listener = listener
    return () => {}
  }
  change(identity: ServingIdentity): void {
    this.#current = identity
    this.#listener(identity)
  }
}

async function setUp(t: TestContext, changes: Partial<AdmissionOptions> = {}) {
  const certificates = new Certificates()
  const metrics = createMetrics({ processMetrics: false })
  const log = silentLog()
  const admission = createAdmission({
    store: { ...storeOf(mirrored('nginx:1')), synced: Promise.resolve() },
    exclusions: { excluded: () => false, synced: Promise.resolve() },
    mapping,
    settings: {
      ...settings,
      admission: {
        ...settings.admission,
        port: 0,
        service: 'kip-webhook',
        url: 'https://127.0.0.1:8443',
        timeoutSeconds: 2,
      },
    } as AdmissionOptions['settings'],
    certificates,
    log,
    metrics,
    sight: () => {},
    ...changes,
  })
  t.after(() => admission.close())
  const { port } = await admission.start()
  return { admission, certificates, metrics, log, port }
}

interface Reply {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

async function post(port: number, body: string, more: RequestOptions = {}): Promise<Reply> {
  const sent = request({
    host: '127.0.0.1',
    port,
    path: '/mutate?timeout=2s',
    method: 'POST',
    ca: authority.certificate,
    agent: false,
    ...more,
    headers: { 'content-type': 'application/json', ...more.headers },
  })
  // A server that refuses a body early closes on the rest of it.
  sent.on('error', () => {})
  sent.end(body)
  const [response] = await once(sent, 'response')
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return { status: response.statusCode, headers: response.headers, body: text }
}

async function open(port: number): Promise<TLSSocket> {
  const ca = authority.certificate
  const socket = connect({ host: '127.0.0.1', port, ca, ALPNProtocols: ['h2', 'http/1.1'] })
  await once(socket, 'secureConnect')
  return socket
}

const head = `POST /mutate HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${review.length}\r\n\r\n`

/** Everything that a socket gets until its end. */
async function readAll(socket: TLSSocket): Promise<string> {
  let text = ''
  for await (const chunk of socket) text += chunk
  return text
}

describe('the server', { timeout: 30_000 }, () => {
  test('answers a review over TLS, and HTTP/1.1 only', async (t) => {
    const { port, admission } = await setUp(t)
    const { status, body } = await post(port, review)
    assert.equal(status, 200)
    const patch = Buffer.from(JSON.parse(body).response.patch, 'base64').toString()
    assert.equal(JSON.parse(patch)[0].value, copyOf('nginx:1'))
    assert.deepEqual(admission.ready(), { ok: true, waiting: [] })
    const socket = await open(port)
    assert.equal(socket.alpnProtocol, 'http/1.1')
    socket.destroy()
  })

  const refused: readonly [why: string, body: string, options: RequestOptions, status: number][] = [
    ['no JSON', '{"kind":', {}, 400],
    ['an empty body', '', {}, 400],
    ['JSON that is no review', '{"kind":"Pod"}', {}, 400],
    ['another content type', 'x', { headers: { 'content-type': 'text/plain' } }, 415],
    ['another method', '', { method: 'GET' }, 405],
    ['another path', review, { path: '/mutate/x' }, 404],
    ['a body that is too large', ' '.repeat(7 * 1024 * 1024 + 1), {}, 413],
  ]
  for (const [why, body, options, status] of refused) {
    test(`refuses ${why} with ${status} and says why`, async (t) => {
      const { port, log } = await setUp(t)
      const reply = await post(port, body, options)
      assert.equal(reply.status, status)
      assert.match(JSON.parse(reply.body).code, /^KIP_ADMISSION_/)
      assert.equal(log.lines.filter(({ level }) => level === 'error').length, 0)
    })
  }

  test('takes a review of six megabytes', async (t) => {
    const { port } = await setUp(t)
    const large = { ...pod, metadata: { annotations: { x: 'y'.repeat(6 * 1024 * 1024) } } }
    assert.equal((await post(port, JSON.stringify(reviewOf(large)))).status, 200)
  })

  test('a key named __proto__ reaches nothing', async (t) => {
    const { port } = await setUp(t)
    const body = review.replace('"spec":', '"__proto__":{"spec":{}},"spec":')
    assert.equal((await post(port, body)).status, 200)
    assert.equal(({} as { spec?: object }).spec, undefined)
  })

  test('admits without deciding what comes beyond the requests that it may have in flight', async (t) => {
    const { port } = await setUp(t, { limits: { inFlight: 1 } })
    const slow = await open(port)
    slow.write(head)
    await sleep(20)
    const { body } = await post(port, review)
    const { allowed, patch, auditAnnotations } = JSON.parse(body).response
    assert.deepEqual([allowed, patch], [true, undefined])
    assert.equal(auditAnnotations.outcome, 'Overloaded')
    slow.write(review)
    const [answer] = await once(slow, 'data')
    assert.match(String(answer), /"patch"/)
    slow.destroy()
    await sleep(20)
    assert.match((await post(port, review)).body, /"patch"/)
  })

  test('cuts off whoever is too slow with a request', async (t) => {
    const { port } = await setUp(t, { limits: { headersMs: 20, requestMs: 40 } })
    const headers = await open(port)
    headers.write('POST /mutate HTTP/1.1\r\n')
    const body = await open(port)
    body.write(`${head}{`)
    const texts = await Promise.all([readAll(headers), readAll(body)])
    for (const text of texts) assert.match(text, /^HTTP\/1\.1 408/)
  })
})

describe('a certificate that changes', { timeout: 30_000 }, () => {
  test('serves new connections; open ones go on', async (t) => {
    const { port, certificates, metrics } = await setUp(t)
    const before = await open(port)
    certificates.change(second)
    const since = await open(port)
    const prints = [before, since].map((socket) =>
      socket.getPeerX509Certificate()?.toString().trim(),
    )
    assert.deepEqual(prints, [first.certificate, second.certificate])
    before.write(head + review)
    const [answer] = await once(before, 'data')
    assert.match(String(answer), /^HTTP\/1\.1 200/)
    before.destroy()
    since.destroy()
    assert.match(await metrics.render(), /kip_admission_certificate_reloads_total\{result="ok"\} 1/)
  })

  test('that does not fit its key is refused, told, and the one before is served', async (t) => {
    const { port, certificates, metrics, log } = await setUp(t)
    certificates.change({ ...second, key: first.key })
    const socket = await open(port)
    assert.equal(socket.getPeerX509Certificate()?.toString().trim(), first.certificate)
    socket.destroy()
    assert.equal(log.lines.filter(({ level }) => level === 'error').length, 1)
    const text = await metrics.render()
    assert.match(text, /kip_admission_certificate_reloads_total\{result="error"\} 1/)
  })
})

describe('a close', { timeout: 30_000 }, () => {
  test('answers what is in flight and ends kept-alive connections at once', async (t) => {
    const { port, admission } = await setUp(t, { limits: { leaveMs: 50 } })
    const agent = new Agent({ keepAlive: true })
    t.after(() => agent.destroy())
    await post(port, review, { agent })
    const inFlight = await open(port)
    inFlight.write(head + review.slice(0, 10))
    const idle = await open(port)
    await sleep(20)

    const start = performance.now()
    const closed = admission.close()
    assert.equal(admission.ready().ok, false)
    await sleep(20)
    inFlight.write(review.slice(10))
    const text = await readAll(inFlight)
    assert.match(text, /^HTTP\/1\.1 200/)
    assert.match(text, /connection: close/i)
    await closed
    assert.ok(performance.now() - start < 1_000)
    idle.destroy()
    await assert.rejects(post(port, review), { code: 'ECONNREFUSED' })
  })

  test('fails no request of clients that never rest, each of which leaves when told', async (t) => {
    const { port, admission } = await setUp(t)
    let closing = false
    let after = 0
    const client = async (): Promise<void> => {
      const socket = await open(port)
      let answer = ''
      while (!/connection: close/i.test(answer)) {
        socket.write(head + review)
        const [data] = await once(socket, 'data')
        answer = String(data)
        assert.match(answer, /^HTTP\/1\.1 200/)
        if (closing) after++
      }
      socket.destroy()
    }
    const clients = Array.from({ length: 8 }, client)
    await sleep(100)
    closing = true
    await admission.close()
    await Promise.all(clients)
    assert.ok(after >= 8, `${after} answers after the close began`)
  })

  test('waits no longer than its time for requests and handshakes that never end', async (t) => {
    const { port, admission } = await setUp(t, { limits: { leaveMs: 50, closeMs: 50 } })
    const stuck = await open(port)
    stuck.on('error', () => {})
    stuck.write(head)
    const silent = createConnection({ host: '127.0.0.1', port })
    silent.on('error', () => {})
    await sleep(20)
    const start = performance.now()
    await admission.close()
    assert.ok(performance.now() - start < 1_000)
    stuck.destroy()
    silent.destroy()
  })

  test('before it listened ends the start; twice is once', async (t) => {
    const never = new Promise<void>(() => {})
    const { admission } = await setUp(t)
    const waiting = createAdmission({
      store: { ...storeOf(), synced: never },
      exclusions: { excluded: () => false, synced: Promise.resolve() },
      mapping,
      settings: { ...settings } as AdmissionOptions['settings'],
      certificates: new Certificates(),
      log: silentLog(),
      metrics: createMetrics({ processMetrics: false }),
      sight: () => {},
    })
    const started = waiting.start()
    assert.ok(waiting.ready().waiting.includes('webhook: images'))
    await waiting.close()
    assert.deepEqual(await started, { port: 0 })
    await Promise.all([admission.close(), admission.close()])
  })
})
