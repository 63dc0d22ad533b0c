import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

export interface FaultProxyOptions {
  readonly port: number
  readonly random: () => number
  /** Share of connections that are harmed. */
  readonly rate: number
}

/** What happens to one connection: after so many bytes in one direction it is cut, ended, or held up. */
interface Harm {
  readonly kind: 'reset' | 'end' | 'stall' | 'slow'
  readonly direction: 'up' | 'down'
  readonly after: number
}

/** A TCP proxy in front of a registry that breaks connections at random. */
export class FaultProxy implements AsyncDisposable {
  readonly #options: FaultProxyOptions
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  harmed = 0

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
    this.harmed += 1
    const kinds = ['reset', 'reset', 'end', 'end', 'stall', 'slow'] as const
    // Mostly inside a body, sometimes inside a head.
    const after = Math.floor(random() < 0.3 ? random() * 400 : 200 + random() * 150_000)
    return {
      kind: kinds[Math.floor(random() * kinds.length)] ?? 'reset',
      direction: random() < 0.5 ? 'up' : 'down',
      after,
    }
  }

  #pass(from: Socket, to: Socket, harm: Harm | undefined): void {
    let passed = 0
    let harmed = false
    from.on('data', (bytes: Buffer) => {
      if (harmed) return
      const left = (harm?.after ?? Number.POSITIVE_INFINITY) - passed
      passed += bytes.length
      if (left >= bytes.length || harm === undefined) {
        if (!to.write(bytes)) {
          from.pause()
          to.once('drain', () => from.resume())
        }
        return
      }
      const rest = bytes.subarray(Math.max(0, left))
      to.write(bytes.subarray(0, Math.max(0, left)))
      harmed = harm.kind !== 'slow'
      // A request that ends in its middle is answered as malformed by some servers, which is not the point here.
      const cut = harm.kind === 'reset' || (harm.kind === 'end' && harm.direction === 'up')
      if (cut) to.resetAndDestroy()
      else if (harm.kind === 'end') to.end()
      else if (harm.kind === 'slow') {
        from.pause()
        setTimeout(() => {
          to.write(rest)
          from.resume()
        }, 20)
      }
    })
    from.on('end', () => to.end())
  }
}
