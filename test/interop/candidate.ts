/** A process with one of our electors; tells what happens, one JSON object a line, as `client-go` does beside it. */
import { parseArgs } from 'node:util'
import { LeaseElector } from 'lease-lock'
import { connectCluster } from '../../src/kube/connect.ts'
import { guardWrites } from '../../src/kube/guarded-client.ts'
import { leaseApi } from '../../src/kube/leases.ts'

const { values } = parseArgs({
  options: {
    kubeconfig: { type: 'string', default: '' },
    namespace: { type: 'string', default: 'default' },
    name: { type: 'string', default: '' },
    identity: { type: 'string', default: '' },
    lease: { type: 'string', default: '15' },
    renew: { type: 'string', default: '10' },
    retry: { type: 'string', default: '2' },
    // A ConfigMap that the leader writes its fence to, all the time.
    write: { type: 'string', default: '' },
  },
})

function tell(event: string, more: object = {}): void {
  process.stdout.write(
    `${JSON.stringify({ at: performance.timeOrigin + performance.now(), event, ...more })}\n`,
  )
}

const quiet = () => {}
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet }
const client = await connectCluster({ kubeconfig: values.kubeconfig })
const elector = new LeaseElector({
  api: leaseApi(client, values.namespace, values.name, { log }),
  identity: values.identity,
  leaseDurationMs: Number(values.lease) * 1000,
  renewDeadlineMs: Number(values.renew) * 1000,
  retryPeriodMs: Number(values.retry) * 1000,
  onLeader: (leader) => tell('leader', { leader: leader ?? '' }),
})
const leaderClient = guardWrites(client)
const stop = new AbortController()
process.once('SIGTERM', () => stop.abort())

async function write(fence: number, signal: AbortSignal): Promise<void> {
  await leaderClient.raw({
    method: 'PATCH',
    path: `/api/v1/namespaces/${values.namespace}/configmaps/${values.write}`,
    contentType: 'application/merge-patch+json',
    body: {
      data: { fence: String(fence), at: String(performance.timeOrigin + performance.now()) },
    },
    timeoutMs: Number(values.renew) * 1000,
    signal,
  })
}

// What isLeader() says, looked at as often as the event loop turns to it.
let said = false
const sampling = setInterval(() => {
  const says = elector.isLeader()
  if (says !== said) tell(says ? 'says-leader' : 'says-not')
  else if (says) tell('still')
  said = says
}, 5)
tell('ready')
while (!stop.signal.aborted) {
  await elector.run(async (term) => {
    tell('started', { token: term.token })
    leaderClient.enter(term)
    let over = false
    term.signal.addEventListener('abort', () => {
      over = true
    })
    while (!over) {
      // Under no signal: the guard alone is to stop them.
      const { signal } = new AbortController()
      if (values.write !== '') await write(term.fence, signal).catch(() => {})
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
    leaderClient.enter(undefined)
    tell('stopped')
  }, stop.signal)
}
clearInterval(sampling)
tell('ended')
await client.close()
