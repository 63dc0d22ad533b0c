import type { Dispatcher } from 'undici'
import { KubeConfigError } from './errors.ts'
import { providerAgent, requestToken, type TokenClient } from './token-endpoint.ts'

export interface ClientCredentialsOptions extends TokenClient {
  /** Token endpoint of an OpenID provider, https. */
  readonly url: string
  /** PEM certificates that are trusted besides the public ones; empty: none. */
  readonly ca: string
  /** Milliseconds of a clock that never jumps. Default `performance.now`. */
  readonly now?: () => number
}

/** A bearer token that is fetched when it is needed, and anew before it expires. */
export interface TokenSource {
  /** @param refused one that a server answered 401 to; it is given again when there is no other */
  token(refused?: string): Promise<string>
  close(): Promise<void>
}

/** A token is replaced when four fifths of its life are over, as kubelets do with those of service accounts. */
const usedShare = 0.8
/** Of a provider that does not tell how long its tokens live. */
const unknownLifeMs = 300_000
/**
 * While the token that it gave lasts, a provider that fails is asked again after so long, and one whose token is refused not
 * more often.
 */
const retryMs = 5000

/**
 * Tokens by the client-credentials grant. The provider's certificate is verified.
 *
 * @see https://www.rfc-editor.org/rfc/rfc6749#section-4.4
 */
export function clientCredentials(options: ClientCredentialsOptions): TokenSource {
  const { now = () => performance.now() } = options
  const agent = providerAgent(options.ca)
  let current: { readonly token: string; readonly until: number; nextAt: number } | undefined
  let fetching: Promise<string> | undefined
  /** When a token was last asked for because one was refused. */
  let refusedAt = Number.NEGATIVE_INFINITY

  async function fetchToken(): Promise<string> {
    const askedAt = now()
    try {
      const { token, lifeMs } = await fetchGranted(agent, options)
      current = { token, until: askedAt + lifeMs, nextAt: askedAt + lifeMs * usedShare }
    } catch (error) {
      if (current === undefined || now() >= current.until) throw error
      current.nextAt = Math.max(current.nextAt, now() + retryMs)
    }
    return current.token
  }

  return {
    async token(refused) {
      if (current !== undefined && now() < current.nextAt) {
        if (refused !== current.token) return current.token
        if (fetching === undefined && now() - refusedAt < retryMs) return current.token
        // It stays until there is another: who else asks may well be let in with it.
        refusedAt = now()
      }
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

async function fetchGranted(
  agent: Dispatcher,
  { url, clientId, clientSecret }: ClientCredentialsOptions,
): Promise<Granted> {
  const grant = { grant_type: 'client_credentials' }
  const answer = await requestToken(agent, url, { clientId, clientSecret }, grant)
  const { access_token: token, expires_in: seconds } = answer
  if (typeof token !== 'string' || token === '') {
    throw new KubeConfigError(`POST ${url}: the answer holds no access_token`)
  }
  const known = typeof seconds === 'number' && seconds > 0
  return { token, lifeMs: known ? seconds * 1000 : unknownLifeMs }
}
