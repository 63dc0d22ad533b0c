import { rootCertificates } from 'node:tls'
import { Agent, type Dispatcher } from 'undici'
import { KubeConfigError } from './errors.ts'

/** Who asks an OpenID provider. */
export interface TokenClient {
  readonly clientId: string
  /** '': a public client, which has none. */
  readonly clientSecret: string
}

/** A JSON object, as far as it is one. */
export type TokenAnswer = Readonly<Record<string, unknown>>

/** Refusals, tokens and what a provider tells of itself are short. */
const maxAnswerBytes = 64 * 1024
const timeoutMs = 15_000

/** @param ca PEM certificates that are trusted besides the public ones; empty: none */
export function providerAgent(ca: string): Agent {
  const trust = ca === '' ? {} : { ca: [...rootCertificates, ca] }
  return new Agent({ connect: { ...trust, timeout: 10_000 } })
}

/**
 * Asks for a token. Id and secret go in the body, as kubernetes-image-puller sent them, and by Basic authentication to a provider
 * that wants that.
 *
 * @param url - token endpoint, https
 * @param form - the grant
 * @throws KubeConfigError when it is refused, with the error code of RFC 6749, §5.2, or nobody answers
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1
 */
export async function requestToken(
  agent: Dispatcher,
  url: string,
  { clientId, clientSecret }: TokenClient,
  form: Readonly<Record<string, string>>,
): Promise<TokenAnswer> {
  const secret = clientSecret === '' ? {} : { client_secret: clientSecret }
  let answer = await send(agent, 'POST', url, {
    body: new URLSearchParams({ ...form, client_id: clientId, ...secret }).toString(),
  })
  if (answer.status === 401 && clientSecret !== '') {
    const basic = [clientId, clientSecret].map(encodeURIComponent).join(':')
    answer = await send(agent, 'POST', url, {
      authorization: `Basic ${Buffer.from(basic).toString('base64')}`,
      body: new URLSearchParams(form).toString(),
    })
  }
  if (answer.status !== 200) throw refusal(url, answer)
  return answer.body
}

/**
 * Where a provider gives tokens, as it tells itself.
 *
 * @throws KubeConfigError when it does not
 * @see https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderConfig
 */
export async function findTokenEndpoint(agent: Dispatcher, issuer: string): Promise<string> {
  const url = `${issuer.replace(/\/+$/, '')}/.well-known/openid-configuration`
  const { status, body } = await send(agent, 'GET', url)
  const { token_endpoint: endpoint } = body
  if (status === 200 && typeof endpoint === 'string' && URL.parse(endpoint)?.protocol === 'https:')
    return endpoint
  throw new KubeConfigError(`GET ${url}: ${status}: the answer names no token_endpoint of https`)
}

interface Answer {
  readonly status: number
  readonly body: TokenAnswer
}

async function send(
  agent: Dispatcher,
  method: 'GET' | 'POST',
  url: string,
  { authorization, body }: { readonly authorization?: string; readonly body?: string } = {},
): Promise<Answer> {
  try {
    const { origin, pathname, search } = new URL(url)
    const answer = await agent.request({
      origin,
      path: pathname + search,
      method,
      headers: {
        accept: 'application/json',
        ...(body !== undefined && { 'content-type': 'application/x-www-form-urlencoded' }),
        ...(authorization !== undefined && { authorization }),
      },
      ...(body !== undefined && { body }),
      signal: AbortSignal.timeout(timeoutMs),
    })
    return { status: answer.statusCode, body: parse(await readBounded(answer.body)) }
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'it broke'
    throw new KubeConfigError(`${method} ${url}: ${reason}`, { cause: error })
  }
}

async function readBounded(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of body) {
    chunks.push(chunk)
    bytes += chunk.length
    if (bytes > maxAnswerBytes) throw new Error('the answer is too long for a token')
  }
  return Buffer.concat(chunks).toString('utf8')
}

function parse(text: string): TokenAnswer {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

/** Only the error code: other words of an answer may repeat what was sent. */
function refusal(url: string, { status, body }: Answer): KubeConfigError {
  const code = typeof body.error === 'string' && /^[a-z_]{1,40}$/.test(body.error) ? body.error : ''
  return new KubeConfigError(`POST ${url}: no token: ${status}${code === '' ? '' : ` ${code}`}`)
}
