import { Agent, request } from 'node:https'
import { ClusterError } from './errors.ts'
import type { Identity } from './pki.ts'

export interface ApiClientOptions {
  readonly host: string
  readonly port: number
  readonly authority: string
  readonly identity: Identity
}

export interface ApiAnswer {
  readonly status: number
  readonly body: string
}

/** The little of the API that bringing a cluster up needs: waiting, and looking at nodes. */
export class ApiClient {
  readonly #options: ApiClientOptions
  readonly #agent: Agent

  constructor(options: ApiClientOptions) {
    this.#options = options
    this.#agent = new Agent({
      keepAlive: true,
      ca: options.authority,
      cert: options.identity.certificate,
      key: options.identity.key,
    })
  }

  async send(
    method: string,
    path: string,
    options: { readonly signal?: AbortSignal; readonly timeoutMs?: number } = {},
  ): Promise<ApiAnswer> {
    const { promise, resolve, reject } = Promise.withResolvers<ApiAnswer>()
    const limit = AbortSignal.timeout(options.timeoutMs ?? 5000)
    const sent = request({
      host: this.#options.host,
      port: this.#options.port,
      method,
      path,
      agent: this.#agent,
      signal: options.signal ? AbortSignal.any([options.signal, limit]) : limit,
    })
    sent.on('error', reject)
    sent.on('response', (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (text: string) => {
        body += text
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body }))
      response.on('error', reject)
    })
    sent.end()
    return promise
  }

  /** @throws ClusterError (KIP_CLUSTER_COMPONENT) unless the answer is 200 */
  async get<T>(path: string, options: { readonly signal?: AbortSignal } = {}): Promise<T> {
    const { status, body } = await this.send('GET', path, options)
    if (status === 200) return JSON.parse(body)
    throw new ClusterError('KIP_CLUSTER_COMPONENT', `GET ${path}: status ${status}: ${body}`)
  }

  async answers(path: string, options: { readonly signal?: AbortSignal } = {}): Promise<boolean> {
    return (await this.send('GET', path, options)).status === 200
  }

  close(): void {
    this.#agent.destroy()
  }
}
