import { BlockList, isIPv4, isIPv6 } from 'node:net'

/** Why a connection is made, for a rule that is asked about its address. */
export interface DialPurpose {
  /**
   * The server of the registry that the caller named and this connection serves, as the `host[:port]` of its URL: for
   * `docker.io` it is `registry-1.docker.io`. `serverOf` tells it for other names.
   */
  readonly registry: string
  /** The host was named by an answer (redirect, upload location, token realm), not by the caller. */
  readonly derived: boolean
  /** The last address at which the registry itself was reached, if it was yet. */
  readonly registryAddress?: string | undefined
}

/**
 * Whether `address`, found behind `host`, may be dialled. Asked at connect for every resolved address and for every
 * address that stands in place of a name, so a name that changes its mind between look-up and connect gains nothing.
 */
export type AllowAddress = (address: string, host: string, purpose: DialPurpose) => boolean

/** What {@link addressPolicy} lets through besides public addresses. */
export interface AddressPolicyOptions {
  /** 127.0.0.0/8 and ::1. Default false. `registry`: for hosts the caller names, and what such a registry itself names. */
  readonly allowLoopback?: boolean | 'registry'
  /** RFC 1918, RFC 6598 and fc00::/7. Default false. `registry` as above. */
  readonly allowPrivate?: boolean | 'registry'
  /** Networks (`10.96.0.0/12`, `fd00::/8`) or addresses allowed whatever their kind. */
  readonly allow?: readonly string[]
  /** Networks or addresses refused whatever their kind; wins over everything else. */
  readonly refuse?: readonly string[]
}

/** Never dialled unless listed in `allow`: they name no registry, or they answer with a machine's own credentials. */
const refusedNetworks = [
  '0.0.0.0/8', // "this host": reaches loopback on Linux
  '169.254.0.0/16', // link-local; instance metadata of most clouds
  '100.100.100.200/32', // instance metadata of Alibaba Cloud
  '168.63.129.16/32', // wire server of Azure
  '192.0.0.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/128',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
  'fd00:ec2::254/128', // instance metadata of AWS
  'fd20:ce::254/128', // instance metadata of Google Cloud
]
const loopbackNetworks = ['127.0.0.0/8', '::1/128']
const privateNetworks = [
  '10.0.0.0/8',
  '172.16.0.0/12',
  '192.168.0.0/16',
  '100.64.0.0/10',
  'fc00::/7',
  '198.18.0.0/15',
]

type Kind = 'public' | 'private' | 'loopback' | 'refused'

const kinds: readonly (readonly [Kind, BlockList])[] = [
  ['refused', networks(refusedNetworks)],
  ['loopback', networks(loopbackNetworks)],
  ['private', networks(privateNetworks)],
]

/**
 * Makes a rule for addresses. Without options it lets public addresses through and nothing else.
 *
 * IPv4 addresses written as IPv6 (mapped, NAT64, 6to4) are judged by the IPv4 address inside.
 */
export function addressPolicy(options: AddressPolicyOptions = {}): AllowAddress {
  const allow = networks(options.allow ?? [])
  const refuse = networks(options.refuse ?? [])
  const permits = (
    setting: boolean | 'registry' | undefined,
    kind: Kind,
    purpose: DialPurpose,
  ): boolean => {
    if (setting !== 'registry') return setting === true
    if (!purpose.derived) return true
    return purpose.registryAddress !== undefined && kindOf(purpose.registryAddress) === kind
  }
  return (address, _host, purpose) => {
    if (contains(refuse, address)) return false
    if (contains(allow, address)) return true
    const kind = kindOf(address)
    if (kind === 'loopback') return permits(options.allowLoopback, kind, purpose)
    if (kind === 'private') return permits(options.allowPrivate, kind, purpose)
    return kind === 'public'
  }
}

/** Lets public addresses through and nothing else: for hosts that strangers may choose. */
export const publicAddressesOnly: AllowAddress = addressPolicy()

/**
 * The rule without any other: the caller may name a registry at a private or loopback address; what an answer names may
 * be there only when the registry itself is at an address of the same kind.
 */
export const defaultAddressPolicy: AllowAddress = addressPolicy({
  allowLoopback: 'registry',
  allowPrivate: 'registry',
})

function kindOf(address: string): Kind {
  for (const [kind, list] of kinds) if (contains(list, address)) return kind
  return isIPv4(address) || isIPv6(address) ? 'public' : 'refused'
}

function contains(list: BlockList, address: string): boolean {
  const plain = address.replace(/%.*$/, '')
  if (isIPv4(plain)) return list.check(plain, 'ipv4')
  if (!isIPv6(plain)) return false
  const inner = embeddedIPv4(plain)
  return list.check(plain, 'ipv6') || (inner !== undefined && list.check(inner, 'ipv4'))
}

/** The IPv4 address inside ::ffff:0:0/96, ::/96, 64:ff9b::/96 or 2002::/16. */
function embeddedIPv4(address: string): string | undefined {
  const words = expandIPv6(address)
  const tail = `${(words[6] ?? 0) >> 8}.${(words[6] ?? 0) & 255}.${(words[7] ?? 0) >> 8}.${(words[7] ?? 0) & 255}`
  const zeros = (to: number): boolean => words.slice(0, to).every((word) => word === 0)
  if (zeros(5) && words[5] === 0xffff) return tail
  if (zeros(6) && (words[6] ?? 0) !== 0) return tail
  if (words[0] === 0x64 && words[1] === 0xff9b) return tail
  if (words[0] === 0x2002) {
    return `${(words[1] ?? 0) >> 8}.${(words[1] ?? 0) & 255}.${(words[2] ?? 0) >> 8}.${(words[2] ?? 0) & 255}`
  }
  return undefined
}

function expandIPv6(address: string): number[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address)
  const plain =
    dotted === null
      ? address
      : `${dotted[1]}${((Number(dotted[2]) << 8) | Number(dotted[3])).toString(16)}:${((Number(dotted[4]) << 8) | Number(dotted[5])).toString(16)}`
  const [front = '', back] = plain.split('::')
  const parse = (text: string): number[] =>
    text === '' ? [] : text.split(':').map((word) => Number.parseInt(word, 16))
  const head = parse(front)
  if (back === undefined) return head
  const tail = parse(back)
  return [
    ...head,
    ...new Array<number>(Math.max(0, 8 - head.length - tail.length)).fill(0),
    ...tail,
  ]
}

function networks(list: readonly string[]): BlockList {
  const out = new BlockList()
  for (const entry of list) {
    const [address = '', bits] = entry.split('/')
    // Not by isIPv6: the first call costs 8 ms, and a block list tells addresses from other texts itself.
    const family = address.includes(':') ? 'ipv6' : 'ipv4'
    const widest = family === 'ipv4' ? 32 : 128
    const prefix = bits === undefined ? widest : Number(bits || Number.NaN)
    try {
      out.addSubnet(address, prefix, family)
    } catch (cause) {
      throw new TypeError(`"${entry}" is neither an IP address nor a network such as 10.0.0.0/8`, {
        cause,
      })
    }
  }
  return out
}
