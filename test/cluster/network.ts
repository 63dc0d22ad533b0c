import { runCommand } from './command.ts'
import { enterNamespaces } from './namespaces.ts'
import type { AddressPlan, NodePlan } from './plan.ts'

interface NetworkOptions {
  readonly signal?: AbortSignal
}

/**
 * Sets up the control plane's network: loopback, and the bridge that the nodes hang on, with its addresses.
 *
 * All links live inside the cluster's own namespaces, so their names collide with nothing and they go with the namespace.
 *
 * @param holder - a process in the namespace
 * @param apiPort - kept out of what the kernel hands to outgoing connections, or the API server may find it taken
 */
export async function setUpControlPlaneNetwork(
  holder: number,
  addresses: AddressPlan,
  apiPort: number,
  options: NetworkOptions = {},
): Promise<void> {
  const own = [addresses.controlPlane, ...Object.values(addresses.registries)]
  await configure(
    holder,
    [
      'link set lo up',
      'link add br0 type bridge',
      ...own.map((address) => `addr add ${address}/24 dev br0`),
      'link set br0 up',
    ],
    { 'net/ipv4/ip_forward': '1', 'net/ipv4/ip_local_reserved_ports': `${apiPort}` },
    options,
  )
}

/** Ties a node's namespace to the bridge, and tells the control plane where the node's pods are. */
export async function connectNode(
  holder: number,
  nodeInit: number,
  node: NodePlan,
  addresses: AddressPlan,
  options: NetworkOptions = {},
): Promise<void> {
  // The link of a node that was just killed may outlive it for a moment.
  await configure(holder, [`link del ${node.name}`], {}, options).catch(() => undefined)
  await configure(
    holder,
    [
      `link add ${node.name} type veth peer name eth0 netns ${nodeInit}`,
      `link set ${node.name} master br0 up`,
      `route replace ${node.podRange} via ${node.address}`,
    ],
    {},
    options,
  )
  await configure(
    nodeInit,
    [
      'link set lo up',
      `addr add ${node.address}/24 dev eth0`,
      'link set eth0 up',
      `route add default via ${addresses.controlPlane}`,
    ],
    { 'net/ipv4/ip_forward': '1' },
    options,
  )
}

async function configure(
  pid: number,
  commands: readonly string[],
  kernel: Readonly<Record<string, string>>,
  options: NetworkOptions,
): Promise<void> {
  const settings = Object.entries(kernel).map(([key, value]) => `echo ${value} > /proc/sys/${key}`)
  const script = ['set -e', 'ip -batch -', ...settings].join('\n')
  const [enter, ...args] = enterNamespaces(pid, ['net'])
  const input = `${commands.join('\n')}\n`
  await runCommand(enter, [...args, 'sh', '-c', script], { ...options, input })
}
