import { type ChildProcess, spawn } from 'node:child_process'
import { readlinkSync } from 'node:fs'
import type { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Agent, buildConnector, type Dispatcher } from 'undici'
import { enterNamespaces } from '../namespaces.ts'

/** Whether a process is in another network than this one; connections to its servers then need a {@link NamespaceDialer}. */
export function isElsewhere(pid: number): boolean {
  return readlinkSync(`/proc/${pid}/ns/net`) !== readlinkSync('/proc/self/ns/net')
}

interface Answer {
  readonly id: number
  readonly error?: string
}

/** Opens connections in the network namespace of another process, by a child that lives there. */
export class NamespaceDialer {
  readonly #pid: number
  readonly #waiting = new Map<number, PromiseWithResolvers<Socket>>()
  #child: ChildProcess | undefined
  #last = 0

  constructor(pid: number) {
    this.#pid = pid
  }

  async connect(host: string, port: number): Promise<Socket> {
    this.#child ??= this.#start()
    const id = ++this.#last
    const waiting = Promise.withResolvers<Socket>()
    this.#waiting.set(id, waiting)
    work(this.#child)
    this.#child.send({ id, host, port })
    return waiting.promise
  }

  /** An undici dispatcher whose connections are opened there. */
  dispatcher(options: {
    readonly address: string
    readonly authority?: string
    readonly connections: number
  }): Dispatcher {
    const secure = buildConnector({
      ...(options.authority && { ca: options.authority }),
      allowH2: false,
    })
    const connect: buildConnector.connector = (target, done) => {
      this.connect(options.address, Number(target.port)).then(
        (socket) =>
          target.protocol === 'https:'
            ? secure({ ...target, httpSocket: socket }, done)
            : done(null, socket),
        (error) => done(error, null),
      )
    }
    return new Agent({ connections: options.connections, allowH2: false, connect })
  }

  close(): void {
    this.#child?.kill()
    this.#child = undefined
  }

  #start(): ChildProcess {
    const [enter, ...args] = enterNamespaces(this.#pid, ['net'])
    const program = fileURLToPath(new URL('dial-child.ts', import.meta.url))
    const child = spawn(enter, [...args, process.execPath, program], {
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    })
    child.on('message', (answer: Answer, socket) => {
      const waiting = this.#waiting.get(answer.id)
      this.#waiting.delete(answer.id)
      if (answer.error === undefined) waiting?.resolve(socket as Socket)
      else waiting?.reject(new Error(answer.error))
      if (this.#waiting.size === 0) rest(child)
    })
    const fail = (error: Error): void => {
      for (const waiting of this.#waiting.values()) waiting.reject(error)
      this.#waiting.clear()
      if (this.#child === child) this.#child = undefined
    }
    child.on('error', fail)
    child.on('exit', () => fail(new Error('the dialer ended')))
    return child
  }
}

/** While an answer is waited for, this process must not end for want of anything else to do. */
function work(child: ChildProcess): void {
  child.ref()
  child.channel?.ref()
}

/** A child that has nothing to do does not keep this process from ending; it ends with it. */
function rest(child: ChildProcess): void {
  child.unref()
  child.channel?.unref()
}
