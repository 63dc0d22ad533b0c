import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'

/** A way to a TCP server that can be blocked: what a broken network looks like from both ends. */
export class TcpGate {
  readonly #target: { readonly host: string; readonly port: number }
  readonly #server: Server
  readonly #pairs = new Set<readonly [Socket, Socket]>()
  #held = false
  #heldNew = false
  #bytes = 0

  private constructor(target: { readonly host: string; readonly port: number }) {
    this.#target = target
    this.#server = createServer((client) => this.#join(client))
  }

  static async open(target: { readonly host: string; readonly port: number }): Promise<TcpGate> {
    const gate = new TcpGate(target)
    gate.#server.listen(0, '127.0.0.1')
    await once(gate.#server, 'listening')
    return gate
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get connections(): number {
    return this.#pairs.size
  }

  /** Bytes that came from the server so far. */
  get bytes(): number {
    return this.#bytes
  }

  /** From now on nothing passes on the connections there are, and none of them ends; new ones pass, unless `all`. */
  silence(options: { readonly all?: boolean } = {}): void {
    this.#held = true
    this.#heldNew = options.all === true
    for (const pair of this.#pairs) for (const socket of pair) socket.pause()
  }

  /** All passes again, what was kept too. */
  restore(): void {
    this.#held = false
    this.#heldNew = false
    for (const pair of this.#pairs) for (const socket of pair) socket.resume()
  }

  /** Every connection breaks. */
  cut(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.resetAndDestroy()
  }

  async close(): Promise<void> {
    this.#server.close()
    this.cut()
    await once(this.#server, 'close')
  }

  #join(client: Socket): void {
    const server = connect(this.#target)
    const pair = [client, server] as const
    this.#pairs.add(pair)
    const end = (): void => {
      this.#pairs.delete(pair)
      for (const socket of pair) socket.destroy()
    }
    for (const socket of pair) {
      socket.setNoDelay(true)
      socket.on('error', end)
      socket.on('close', end)
    }
    server.on('data', (chunk) => {
      this.#bytes += chunk.length
      if (!client.write(chunk)) {
        server.pause()
        client.once('drain', () => {
          if (!this.#held) server.resume()
        })
      }
    })
    client.on('data', (chunk) => server.write(chunk))
    if (this.#held && this.#heldNew) for (const socket of pair) socket.pause()
  }
}
