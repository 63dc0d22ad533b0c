import { connect, type Server } from 'node:net'

// Carries connections from the machine's loopback to the API server in the control plane's namespace. A socket belongs to
// the namespace that it was made in: this process runs in the cluster's, and is handed a listening socket of the machine's.
//   node relay.ts HOST PORT

const [host = '', port = ''] = process.argv.slice(2)

process.once('message', (_message, handle) => {
  const server = handle as Server
  server.on('connection', (client) => {
    const target = connect({ host, port: Number(port), noDelay: true })
    client.setNoDelay(true)
    client.pipe(target).pipe(client)
    // One side's failure is the other's: a client of a stopped API server sees its connection end.
    client.on('error', () => target.destroy())
    target.on('error', () => client.destroy())
    client.on('close', () => target.destroy())
    target.on('close', () => client.destroy())
  })
  process.send?.('listening', () => process.disconnect())
})
