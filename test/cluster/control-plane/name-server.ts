import { createSocket } from 'node:dgram'
import { answerQuery } from '../dns.ts'

// Answers DNS queries of pods from a table.
//   node name-server.ts ADDRESS NAME=ADDRESS...

const [address = '', ...pairs] = process.argv.slice(2)
const names = new Map(
  pairs.map((pair) => {
    const [name = '', value = ''] = pair.split('=')
    return [name, value]
  }),
)
const socket = createSocket('udp4')
socket.on('message', (query, from) => {
  const answer = answerQuery(query, names)
  if (answer) socket.send(answer, from.port, from.address)
})
socket.bind(53, address)
