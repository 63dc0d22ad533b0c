import type { Socket } from 'node:net'
import { offAbort, onAbort, type StopSignal } from '../abortable.ts'
import { DialError } from './dial-errors.ts'
import { hostOf, type Origin, type ProxyServer } from './origin.ts'
import { describe } from './socket-events.ts'

/** Asks a proxy for a tunnel and reads its answer, which has no body (RFC 9110 §9.3.6). */
export async function openTunnel(
  socket: Socket,
  origin: Origin,
  proxy: ProxyServer,
  signal: StopSignal,
): Promise<void> {
  const name = origin.hostname.includes(':') ? `[${origin.hostname}]` : origin.hostname
  const target = `${name}:${origin.port}`
  const authorization =
    proxy.authorization === undefined ? '' : `Proxy-Authorization: ${proxy.authorization}\r\n`
  const answer = await new Promise<string>((resolve, reject) => {
    let text = ''
    const done = (): void => {
      socket.off('readable', read)
      socket.off('error', fail)
      socket.off('close', closed)
      offAbort(signal, aborted)
    }
    const fail = (error: Error): void => {
      done()
      socket.on('error', () => {})
      socket.destroy()
      reject(describe(error, proxy))
    }
    const closed = (): void => fail(new Error('the proxy closed the connection'))
    const aborted = (): void => fail(signal.reason as Error)
    const read = (): void => {
      // One byte at a time, so that nothing behind the answer is taken from the tunnel.
      for (let byte = socket.read(1); byte !== null; byte = socket.read(1)) {
        text += (byte as Buffer).toString('latin1')
        if (text.length > 8192) {
          fail(new Error('the answer of the proxy is too large'))
          return
        }
        if (text.endsWith('\r\n\r\n')) {
          done()
          resolve(text)
          return
        }
      }
    }
    socket.on('readable', read)
    socket.once('error', fail)
    socket.once('close', closed)
    onAbort(signal, aborted)
    socket.write(`CONNECT ${target} HTTP/1.1\r\nHost: ${target}\r\n${authorization}\r\n`)
  })
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(answer)?.[1]
  if (status !== '200') {
    socket.destroy()
    const advice = status === '407' ? 'give the proxy URL a user and password' : undefined
    const said = `the proxy ${hostOf(proxy)} answered ${status ?? 'nonsense'} for ${target}`
    throw new DialError(said, { advice })
  }
}
