import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { TcpGate } from './tcp-gate.ts'

/**
 * Opens a gate to the API server of a kubeconfig, and writes another one that leads through it.
 *
 * @param folder - where the other kubeconfig is put
 */
export async function gateTo(
  kubeconfig: string,
  folder: string,
): Promise<{ readonly gate: TcpGate; readonly kubeconfig: string }> {
  const config = parse(await readFile(kubeconfig, 'utf8'))
  const { cluster } = config.clusters[0]
  const { hostname: host, port } = new URL(cluster.server)
  const gate = await TcpGate.open({ host, port: Number(port) })
  const path = join(folder, 'gate.kubeconfig')
  cluster.server = `https://127.0.0.1:${gate.port}`
  await writeFile(path, stringify(config), { mode: 0o600 })
  return { gate, kubeconfig: path }
}
