import type { StopSignal } from '../abortable.ts'
import { Remembered } from '../remembered.ts'
import type { Token, TokenQuestion } from './token-client.ts'

/** A token for all who ask the same as the same identity. */
export interface SharedToken {
  readonly key: string
  readonly pending: Promise<Token>
  /** The token, once it is there. */
  value: string | undefined
  /** No token came, since whoever asked for it was stopped; that stops nobody else. */
  stopped: boolean
  expiresAt: number
}

export interface SharedTokensOptions {
  readonly fetchToken: (question: TokenQuestion, signal: StopSignal) => Promise<Token>
  readonly now: () => number
}

/** Tokens by realm, service, scopes and identity: renewed before they end, and asked for once however many requests wait. */
export class SharedTokens {
  readonly #options: SharedTokensOptions
  readonly #tokens = new Remembered<SharedToken>()

  constructor(options: SharedTokensOptions) {
    this.#options = options
  }

  /**
   * The token that answers a question, asked for unless it is there or on its way.
   *
   * @param identity names the credential
   * @param signal stops the asking, if it is this call that asks
   */
  find(question: TokenQuestion, identity: string, signal: StopSignal): SharedToken {
    const { realm, service, scopes } = question
    const key = JSON.stringify([realm.url.href, service ?? '', scopes, identity])
    const known = this.#tokens.get(key)
    if (known !== undefined && known.expiresAt > this.#options.now()) return known
    return this.#ask(key, question, signal)
  }

  /** Forgets a token that was turned down, and none that has taken its place since. */
  drop(token: SharedToken): void {
    if (this.#tokens.get(token.key) === token) this.#tokens.set(token.key, undefined)
  }

  #ask(key: string, question: TokenQuestion, signal: StopSignal): SharedToken {
    const pending = this.#options.fetchToken(question, signal)
    const expiresAt = Number.POSITIVE_INFINITY
    const token: SharedToken = { key, pending, value: undefined, stopped: false, expiresAt }
    this.#tokens.set(key, token)
    // Before anybody can wait for it: who does finds it settled here.
    pending.then(
      ({ value, lifeMs }) => {
        token.value = value
        // A tenth early, so that it does not end on the way.
        token.expiresAt = this.#options.now() + lifeMs * 0.9
      },
      () => {
        token.stopped = signal.aborted
        this.drop(token)
      },
    )
    return token
  }
}
