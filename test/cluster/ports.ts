import { createServer, type Server } from 'node:net'

/** Ports of the machine's loopback that nobody listens on. */
export async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  try {
    return await Promise.all(servers.map((server) => listen(server, '127.0.0.1', 0)))
  } finally {
    await Promise.all(servers.map(close))
  }
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
