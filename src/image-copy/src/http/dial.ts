import {
  connect as connectTcp,
  isIP,
  type LookupFunction,
  type Socket,
  type TcpNetConnectOpts,
} from 'node:net'
import type { DuplexOptions } from 'node:stream'
import type { ConnectionOptions, TLSSocket } from 'node:tls'
import { Stop, type StopSignal } from '../abortable.ts'
import { Remembered } from '../remembered.ts'
import type { AllowAddress, DialPurpose } from './address.ts'
import { AddressRefusedError, DialError } from './dial-errors.ts'
import { hostOf, type Origin, originKey, type ProxyServer } from './origin.ts'
import { openTunnel } from './proxy-tunnel.ts'
import { largestReadBytes } from './read-buffer.ts'
import { notTlsCode, settled } from './socket-events.ts'
import { tlsModule } from './tls-module.ts'
import { tlsPolicy } from './tls-policy.ts'

export interface DialerOptions {
  readonly allowAddress: AllowAddress
  readonly lookup?: LookupFunction | undefined
  /** Time for look-up, TCP, proxy and TLS together, in milliseconds. */
  readonly connectMs: number
}

/** Where the bytes of a new socket go. */
export interface Receiver {
  /** Gives the memory that the next bytes go to; asked at first and after each read. */
  readonly room: () => Buffer
  /** Takes the first `length` bytes of the memory given last; `false` stops reading until the socket is resumed. */
  readonly onBytes: (length: number) => boolean
}

/**
 * Whether more than the kernel stands before the receiver: TLS, or a proxy. Then a read brings what these hold, of TLS a record,
 * and not all that there is room for; and what they hold already comes even after reading was stopped.
 */
export function needsGathering(origin: Origin): boolean {
  return origin.scheme === 'https' || origin.proxy !== undefined
}

/**
 * A write of so many bytes costs a turn of its own, in which Node says that there is room again. Nobody listens: one piece of a
 * body is written at a time, what one read brought, with a request's head before it at most.
 */
const writableHighWaterMark = 2 * largestReadBytes

/**
 * How long one of a host's addresses has to accept, in milliseconds, before the next is tried. Node gives up on each after 250 ms
 * where there are several, and an address further away than that, or a process that is late by as much, then gets no connection
 * at all. No registry is further away than this; one that drops packets costs as much.
 */
const addressMs = 2000
const reaching = { noDelay: true, autoSelectFamilyAttemptTimeout: addressMs } as const

/** TLS sessions kept for resumption; one per origin. */
const maxSessions = 256

/** Makes sockets, and is the one place where an address is judged before it is dialled. */
export class Dialer {
  readonly #options: DialerOptions
  readonly #sessions = new Remembered<Buffer>(maxSessions)

  constructor(options: DialerOptions) {
    this.#options = options
  }

  /** @throws AddressRefusedError, DialError, or the reason of the signal that aborted */
  async dial(
    origin: Origin,
    purpose: DialPurpose,
    receiver: Receiver,
    signals: readonly StopSignal[],
  ): Promise<Socket> {
    const { connectMs } = this.#options
    for (const signal of signals) signal.throwIfAborted()
    const limit = new Stop(...signals)
    const late = (): void =>
      limit.abort(new DialError(`no connection to ${hostOf(origin)} within ${connectMs} ms`))
    const timer = setTimeout(late, connectMs)
    try {
      return await this.#dial(origin, purpose, receiver, limit)
    } catch (error) {
      limit.throwIfAborted()
      throw error
    } finally {
      clearTimeout(timer)
      limit.end()
    }
  }

  async #dial(
    origin: Origin,
    purpose: DialPurpose,
    receiver: Receiver,
    signal: StopSignal,
  ): Promise<Socket> {
    const onread = { buffer: receiver.room, callback: receiver.onBytes }
    if (origin.proxy !== undefined)
      return this.#dialThroughProxy(origin, origin.proxy, purpose, receiver, signal)
    const where = {
      host: origin.hostname,
      port: origin.port,
      lookup: this.#guard(origin, purpose),
      ...reaching,
    }
    if (origin.scheme === 'http') {
      const options: TcpNetConnectOpts & DuplexOptions = { ...where, onread, writableHighWaterMark }
      const socket = connectTcp(options)
      await settled(socket, 'connect', origin, signal)
      return socket
    }
    // Documented for tls.connect and missing in its type.
    const options: ConnectionOptions & { onread: typeof onread } = {
      ...this.#tlsOptions(origin),
      ...where,
      onread,
    }
    const socket = tlsModule().connect(options)
    await this.#secured(socket, origin, signal)
    return socket
  }

  /** Through CONNECT for https; for http the proxy is simply the peer, and the request names the whole URL. */
  async #dialThroughProxy(
    origin: Origin,
    proxy: ProxyServer,
    purpose: DialPurpose,
    receiver: Receiver,
    signal: StopSignal,
  ): Promise<Socket> {
    // The proxy resolves names; what can be judged here is an address written in place of a name.
    if (isIP(origin.hostname) > 0) this.#requireLiteral(origin, purpose)
    // Before there is a connection, since a certificate that cannot be used shows here.
    const tls = origin.scheme === 'https' ? this.#tlsOptions(origin) : undefined
    const where = { host: proxy.hostname, port: proxy.port, ...reaching }
    const plain =
      proxy.scheme === 'http'
        ? connectTcp(where)
        : tlsModule().connect({
            ...where,
            ...tlsPolicyOf(proxy),
            servername: nameOf(proxy.hostname),
          })
    await this.#proxyReached(plain, proxy, signal)
    let socket: Socket = plain
    if (tls !== undefined) {
      await openTunnel(plain, origin, proxy, signal)
      const secure = tlsModule().connect({ socket: plain, ...tls })
      await this.#secured(secure, origin, signal)
      socket = secure
    }
    socket.on('data', (bytes: Buffer) => {
      for (let from = 0; from < bytes.length; ) {
        const length = bytes.copy(receiver.room(), 0, from)
        from += length
        if (!receiver.onBytes(length)) socket.pause()
      }
    })
    return socket
  }

  async #proxyReached(socket: Socket, proxy: ProxyServer, signal: StopSignal): Promise<void> {
    try {
      const event = proxy.scheme === 'http' ? 'connect' : 'secureConnect'
      await settled(socket, event, proxy, signal)
    } catch (error) {
      if (!(error instanceof DialError)) throw error
      const { cause } = error
      const plain = cause instanceof Error && 'code' in cause && cause.code === notTlsCode
      throw error.ofProxy(plain ? "write http:// in the proxy's URL, if it is meant" : error.advice)
    }
  }

  #tlsOptions(origin: Origin): ConnectionOptions {
    const session = this.#sessions.get(originKey(origin))
    return {
      ...tlsPolicyOf(origin),
      ...(session === undefined ? {} : { session }),
      servername: nameOf(origin.hostname),
      host: origin.hostname,
      // Over HTTP/2 registries answer slower here, and a blob needs a connection for itself anyway.
      ALPNProtocols: ['http/1.1'],
    }
  }

  async #secured(socket: TLSSocket, origin: Origin, signal: StopSignal): Promise<void> {
    socket.on('session', (session) => this.#sessions.set(originKey(origin), session))
    await settled(socket, 'secureConnect', origin, signal)
    if (socket.alpnProtocol !== false && socket.alpnProtocol !== 'http/1.1') {
      socket.destroy()
      const why = `insists on protocol ${socket.alpnProtocol}`
      throw new DialError(`${hostOf(origin)} ${why}`, { tls: true })
    }
  }

  /** Holds the address of a connection that is to be used again against the rule. @throws AddressRefusedError */
  require(address: string | undefined, origin: Origin, purpose: DialPurpose): void {
    if (address === undefined || origin.proxy !== undefined) return
    if (!this.#options.allowAddress(address, origin.hostname, purpose)) {
      throw new AddressRefusedError(hostOf(origin), address)
    }
  }

  #requireLiteral(origin: Origin, purpose: DialPurpose): void {
    if (!this.#options.allowAddress(origin.hostname, origin.hostname, purpose)) {
      throw new AddressRefusedError(hostOf(origin), origin.hostname)
    }
  }

  /** A look-up that gives out only addresses that may be dialled. Literal addresses pass no look-up: they are judged here. */
  #guard(origin: Origin, purpose: DialPurpose): LookupFunction {
    if (isIP(origin.hostname) > 0) this.#requireLiteral(origin, purpose)
    return (name, options, callback) => {
      // Loaded late for the same reason as node:tls.
      const resolve = this.#options.lookup ?? process.getBuiltinModule('node:dns').lookup
      resolve(name, { ...options, all: true }, (error, found) => {
        if (error !== null) return callback(error, [])
        const all = Array.isArray(found) ? found : [{ address: found, family: isIP(found) }]
        const allowed = all.filter(({ address }) =>
          this.#options.allowAddress(address, origin.hostname, purpose),
        )
        const first = allowed[0]
        if (first === undefined) {
          return callback(
            new AddressRefusedError(hostOf(origin), all[0]?.address ?? 'no address'),
            [],
          )
        }
        if (options.all === true) callback(null, allowed)
        else callback(null, first.address, first.family)
      })
    }
  }
}

/** SNI takes names only (RFC 6066 §3). */
function nameOf(hostname: string): string {
  return isIP(hostname) > 0 ? '' : hostname
}

/** A context of one's own was made with the policy. */
function tlsPolicyOf({ tls }: Pick<Origin, 'tls'>): ConnectionOptions {
  return tls === undefined ? tlsPolicy() : { secureContext: tls.context() }
}
