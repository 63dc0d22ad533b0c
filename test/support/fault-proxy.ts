import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export interface FaultProxyOptions {
  readonly port: number
  readonly random: () => number
  /** Share of connections that are harmed. */
  readonly rate: number
}

/** What can happen to a connection after some bytes: cut, truncated, silent for ever, late, altered, out of order. */
export const harms = ['reset', 'end', 'stall', 'slow', 'flip', 'swap'] as const
type Kind = (typeof harms)[number]

/** After so many bytes in one direction. */
interface Harm {
  readonly kind: Kind
  readonly direction: 'up' | 'down'
  readonly after: number
}

/** A TCP proxy in front of a registry that breaks connections at random. */
export class FaultProxy implements AsyncDisposable {
  readonly #options: FaultProxyOptions
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /** What was done, each connection once. */
  readonly done: Kind[] = []

  private constructor(options: FaultProxyOptions) {
    this.#options = options
    this.#server = createServer((down) => this.#join(down))
  }

  static async start(options: FaultProxyOptions): Promise<FaultProxy> {
    const proxy = new FaultProxy(options)
    await new Promise<void>((resolve) => {
      proxy.#server.listen(0, '127.0.0.1', resolve)
    })
    return proxy
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #join(down: Socket): void {
    const up = connect({ host: '127.0.0.1', port: this.#options.port, noDelay: true })
    const harm = this.#draw()
    for (const socket of [down, up]) {
      this.#sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        this.#sockets.delete(socket)
        down.destroy()
        up.destroy()
      })
    }
    this.#pass(down, up, harm?.direction === 'up' ? harm : undefined)
    this.#pass(up, down, harm?.direction === 'down' ? harm : undefined)
  }

  #draw(): Harm | undefined {
    const { random, rate } = this.#options
    if (random() > rate) return undefined
    const kinds = [...harms, 'reset', 'end'] as const
    // Mostly inside a body, sometimes inside a head.
    const after = Math.floor(random() < 0.3 ? random() * 400 : 200 + random() * 150_000)
    return {
      kind: kinds[Math.floor(random() * kinds.length)] ?? 'reset',
      direction: random() < 0.5 ? 'up' : 'down',
      after,
    }
  }

  #pass(from: Socket, to: Socket, harm: Harm | undefined): void {
    const give = (bytes: Buffer): void => {
      if (to.write(bytes) || to.destroyed) return
      from.pause()
      to.once('drain', () => from.resume())
    }
    let passed = 0
    let over = harm === undefined
    let deaf = false
    let held: Buffer | undefined
    from.on('data', (bytes: Buffer) => {
      if (deaf) return
      if (held !== undefined) {
        give(Buffer.concat([bytes, held]))
        held = undefined
        return
      }
      const left = (harm?.after ?? 0) - passed
      passed += bytes.length
      // A request's head that is altered asks for something else, which no client could notice.
      const spared = harm?.direction === 'up' && bytes.includes(' HTTP/1.1\r\n')
      const altering = harm?.kind === 'flip' || harm?.kind === 'swap'
      if (over || left >= bytes.length || (altering && spared)) return give(bytes)
      const at = Math.max(0, left)
      over = true
      this.done.push(harm?.kind ?? 'reset')
      if (harm?.kind === 'flip') {
        const altered = Buffer.from(bytes)
        altered[at] = (altered[at] ?? 0) ^ 1
        return give(altered)
      }
      give(bytes.subarray(0, at))
      const rest = bytes.subarray(at)
      if (harm?.kind === 'swap' || harm?.kind === 'slow') {
        // The rest comes after what follows it, or late when nothing does.
        if (harm.kind === 'swap') held = rest
        else from.pause()
        setTimeout(() => {
          if (harm.kind === 'slow') give(rest)
          else if (held !== undefined) give(held)
          held = undefined
          from.resume()
        }, 20)
        return
      }
      deaf = true
      // A request that ends in its middle is answered as malformed by some servers, which is not the point here.
      if (harm?.kind === 'reset' || (harm?.kind === 'end' && harm.direction === 'up'))
        to.resetAndDestroy()
      else if (harm?.kind === 'end') to.end()
    })
    from.on('end', () => to.end())
  }
}
