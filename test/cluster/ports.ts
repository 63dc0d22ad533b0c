import { createServer, type Server } from 'node:net'

/** Linux gives connections ports from 32768 on: one of those may be taken while a server that is to come back is away. */
const range = { first: 16_384, count: 16_384 }

/** Ports of the machine's loopback that nobody listens on, and no connection gets. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const ports = new Set<number>()
  while (ports.size < count) {
    const port = range.first + Math.floor(Math.random() * range.count)
    if (!ports.has(port) && (await canListen([{ address: '127.0.0.1', port }]))) ports.add(port)
  }
  return [...ports]
}

/** Whether nobody listens at any of these places. */
export async function canListen(
  places: readonly { readonly address: string; readonly port: number }[],
): Promise<boolean> {
  const servers = places.map(() => createServer())
  try {
    const tried = await Promise.allSettled(
      places.map(({ address, port }, index) =>
        listen(servers[index] ?? createServer(), address, port),
      ),
    )
    return tried.every(({ status }) => status === 'fulfilled')
  } finally {
    await Promise.all(servers.map(close))
  }
}

function listen(server: Server, address: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, address, () => {
      const bound = server.address()
      resolve(typeof bound === 'object' && bound ? bound.port : port)
    })
  })
}

function close(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}
