import { rootCertificates } from 'node:tls'
import { Agent, type Dispatcher } from 'undici'
import { KubeConfigError } from './errors.ts'

export interface ClientCredentialsOptions {
  /** Token endpoint of an OpenID provider, https. */
  readonly url: string
  readonly clientId: string
  readonly clientSecret: string
  /** PEM certificates that are trusted besides the public ones; empty: none. */
  readonly ca: string
  /** Milliseconds of a clock that never jumps. Default `performance.now`. */
  readonly now?: () => number
}

/** A bearer token that is fetched when it is needed, and anew before it expires. */
export interface TokenSource {
  /** @param refused one that a server answered 401 to */
  token(refused?: string): Promise<string>
  close(): Promise<void>
}

/** A token is replaced when four fifths of its life are over, as kubelets do with those of service accounts. */
const usedShare = 0.8
/** Of a provider that does not tell how long its tokens live. */
const unknownLifeMs = 300_000
/** Refusals and tokens are short. */
const maxAnswerBytes = 64 * 1024
const timeoutMs = 15_000
/** A provider that fails is asked again after so long, while the token that it gave lasts. */
const retryMs = 5000

/**
 * Tokens by the client-credentials grant. Id and secret go in the body, as kubernetes-image-puller sent them, and by Basic
 * authentication to a provider that wants that. Its certificate is verified.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-4.4
 */
export function clientCredentials(options: ClientCredentialsOptions): TokenSource {
  const { now = () => performance.now() } = options
  const ca = options.ca === '' ? {} : { ca: [...rootCertificates, options.ca] }
  const agent = new Agent({ connect: { ...ca, timeout: 10_000 } })
  let current: { readonly token: string; readonly until: number; nextAt: number } | undefined
  let fetching: Promise<string> | undefined

  async function fetchToken(): Promise<string> {
    const askedAt = now()
    try {
      const { token, lifeMs } = await requestToken(agent, options)
      current = { token, until: askedAt + lifeMs, nextAt: askedAt + lifeMs * usedShare }
    } catch (error) {
      if (current === undefined || now() >= current.until) throw error
      current.nextAt = now() + retryMs
    }
    return current.token
  }

  return {
    async token(refused) {
      if (refused !== undefined && refused === current?.token) current = undefined
      if (current !== undefined && now() < current.nextAt) return current.token
      fetching ??= fetchToken().finally(() => {
        fetching = undefined
      })
      return await fetching
    },
    close: () => agent.destroy(),
  }
}

interface Granted {
  readonly token: string
  readonly lifeMs: number
}

async function requestToken(
  agent: Dispatcher,
  options: ClientCredentialsOptions,
): Promise<Granted> {
  const { clientId, clientSecret } = options
  const inBody = await ask(agent, options, { client_id: clientId, client_secret: clientSecret })
  const answer = inBody.status === 401 ? await ask(agent, options, undefined) : inBody
  if (answer.status !== 200) throw refusal(options.url, answer)
  const { access_token: token, expires_in: seconds } = answer.body
  if (typeof token !== 'string' || token === '') {
    throw new KubeConfigError(`POST ${options.url}: the answer holds no access_token`)
  }
  const known = typeof seconds === 'number' && seconds > 0
  return { token, lifeMs: known ? seconds * 1000 : unknownLifeMs }
}

interface Answer {
  readonly status: number
  readonly body: Readonly<Record<string, unknown>>
}

async function ask(
  agent: Dispatcher,
  { url, clientId, clientSecret }: ClientCredentialsOptions,
  identity: Readonly<Record<string, string>> | undefined,
): Promise<Answer> {
  const { origin, pathname, search } = new URL(url)
  const basic = [clientId, clientSecret].map(encodeURIComponent).join(':')
  const form = new URLSearchParams({ grant_type: 'client_credentials', ...identity })
  try {
    const answer = await agent.request({
      origin,
      path: pathname + search,
      method: 'POST',
      headers: {
        accept: 'application/json',
        'content-type': 'application/x-www-form-urlencoded',
        ...(identity === undefined
          ? { authorization: `Basic ${Buffer.from(basic).toString('base64')}` }
          : {}),
      },
      body: form.toString(),
      signal: AbortSignal.timeout(timeoutMs),
    })
    return { status: answer.statusCode, body: parse(await readBounded(answer.body)) }
  } catch (error) {
    const reason = error instanceof Error ? error.message : 'it broke'
    throw new KubeConfigError(`POST ${url}: ${reason}`, { cause: error })
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

function parse(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? { ...value } : {}
  } catch {
    return {}
  }
}

/** Only the error code of RFC 6749, §5.2: other words of an answer may repeat what was sent. */
function refusal(url: string, { status, body }: Answer): KubeConfigError {
  const code = typeof body.error === 'string' && /^[a-z_]{1,40}$/.test(body.error) ? body.error : ''
  return new KubeConfigError(`POST ${url}: no token: ${status}${code === '' ? '' : ` ${code}`}`)
}
