import { once } from 'node:events'
import { Agent, createServer, request } from 'node:https'
import type { AddressInfo } from 'node:net'
import type { Authority } from '../../cluster/pki.ts'

export interface Upstream {
  /** `https://host:port` */
  readonly server: string
  /** PEM. */
  readonly ca: string
}

export interface UserProxy {
  readonly url: string
  /** `VERB path` of every request, `watch` as a verb of its own. */
  readonly requests: readonly string[]
  /** Bearer tokens that were shown. */
  readonly tokens: ReadonlySet<string>
  readonly refusals: () => number
  close(): Promise<void>
}

/** What the old mode stood behind: one address that leads each impersonated user to the API server of the user's own. */
export async function startUserProxy(
  authority: Authority,
  upstreams: ReadonlyMap<string, Upstream>,
): Promise<UserProxy> {
  const identity = await authority.issue({ commonName: 'proxy', hosts: ['127.0.0.1'] })
  const agent = new Agent({ keepAlive: true })
  const requests: string[] = []
  const tokens = new Set<string>()
  let refusals = 0
  const server = createServer(
    { cert: identity.certificate, key: identity.key },
    (incoming, outgoing) => {
      const { method = '', url = '', headers } = incoming
      const upstream = upstreams.get(String(headers['impersonate-user']))
      requests.push(`${url.includes('watch=true') ? 'watch' : method} ${url.split('?')[0]}`)
      tokens.add(headers.authorization ?? '')
      if (upstream === undefined) {
        outgoing.writeHead(403).end()
        return
      }
      const { hostname, port } = new URL(upstream.server)
      const { host: _host, ...passed } = headers
      const onward = request(
        { hostname, port, path: url, method, headers: passed, ca: upstream.ca, agent },
        (answer) => {
          if (answer.statusCode === 401) refusals += 1
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
          outgoing.flushHeaders()
          answer.pipe(outgoing)
          answer.on('error', () => outgoing.destroy())
        },
      )
      onward.on('error', () => outgoing.destroy())
      outgoing.on('close', () => onward.destroy())
      incoming.pipe(onward)
    },
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    tokens,
    refusals: () => refusals,
    close: async () => {
      const closed = once(server, 'close')
      server.close()
      server.closeAllConnections()
      agent.destroy()
      await closed
    },
  }
}
