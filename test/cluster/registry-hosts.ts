import type { AddressPlan } from './plan.ts'

export type RegistryName = 'origin' | 'backup' | 'plain'

/** One of the cluster's registries as nodes, pods and the copier know it. */
export interface RegistryHost {
  readonly name: RegistryName
  /** `origin.test`, which the hosts files and the cluster's DNS resolve to the address. */
  readonly domain: string
  /** An address of its own for each, so that one can be cut off without the others. */
  readonly address: string
  readonly port: number
  /** `origin.test:5000`: the registry part of image references. */
  readonly host: string
  readonly scheme: 'https' | 'http'
}

const KNOWN = [
  { name: 'origin', port: 5000, scheme: 'https' },
  { name: 'backup', port: 5001, scheme: 'https' },
  { name: 'plain', port: 5002, scheme: 'http' },
] as const

/** The registries of a cluster, whether they run or not. */
export function registryHosts(addresses: AddressPlan): readonly RegistryHost[] {
  return KNOWN.map(({ name, port, scheme }) => {
    const domain = `${name}.test`
    return {
      name,
      domain,
      address: addresses.registries[name],
      port,
      host: `${domain}:${port}`,
      scheme,
    }
  })
}

/** containerd's `certs.d/<host>/hosts.toml`; the authority's path is one inside the node. */
export function hostsToml(registry: RegistryHost, authorityFile: string): string {
  const server = `${registry.scheme}://${registry.host}`
  const trust = registry.scheme === 'https' ? `  ca = ${JSON.stringify(authorityFile)}\n` : ''
  return [
    `server = "${server}"\n\n[host."${server}"]\n`,
    '  capabilities = ["pull", "resolve"]\n',
    trust,
  ].join('')
}

/** An /etc/hosts with the names of the registries, for the control plane's namespace and for nodes. */
export function hostsFile(
  addresses: AddressPlan,
  own: ReadonlyMap<string, string> = new Map(),
): string {
  const lines = [
    '127.0.0.1 localhost',
    '::1 localhost',
    ...[...own].map(([name, address]) => `${address} ${name}`),
    ...registryHosts(addresses).map(({ address, domain }) => `${address} ${domain}`),
  ]
  return `${lines.join('\n')}\n`
}
