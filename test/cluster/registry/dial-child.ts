import { connect } from 'node:net'

// Opens connections in the network namespace that it was started in, and hands the sockets to its parent: a socket stays in
// the namespace that it was made in, whoever holds it.

interface DialRequest {
  readonly id: number
  readonly host: string
  readonly port: number
}

process.on('message', ({ id, host, port }: DialRequest) => {
  const socket = connect({ host, port, noDelay: true })
  socket.once('connect', () => process.send?.({ id }, socket))
  socket.once('error', (error) => process.send?.({ id, error: error.message }))
})
process.once('disconnect', () => process.exit(0))
process.send?.('ready')
