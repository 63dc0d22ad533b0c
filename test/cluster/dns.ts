import type { AddressPlan } from './plan.ts'
import { registryHosts } from './registry-hosts.ts'

/** Domain names of a cluster, without a final dot, and their IPv4 addresses. */
export type Names = ReadonlyMap<string, string>

const HEADER_BYTES = 12
const TYPE_A = 1
const CLASS_INTERNET = 1
const NO_SUCH_NAME = 3
/** A response, with authority, recursion asked for and available. */
const FLAGS = 0x8580
/** Short: what a test points elsewhere is soon seen. */
const TIME_TO_LIVE_SECONDS = 5

/** What pods can ask for: the registries. Services are reached by the addresses in a pod's environment. */
export function clusterDomains(addresses: AddressPlan): Names {
  return new Map(registryHosts(addresses).map(({ domain, address }) => [domain, address]))
}

/**
 * Answers one DNS query (RFC 1035) from a table: an address for a known name, none for its other types, and
 * "no such name" for the rest.
 *
 * @returns undefined for what is not a query of one question
 */
export function answerQuery(query: Buffer, names: Names): Buffer | undefined {
  if (query.length < HEADER_BYTES || (query.readUInt16BE(2) & 0x8000) !== 0) return undefined
  if (query.readUInt16BE(4) !== 1) return undefined
  const asked = readName(query)
  if (!asked || asked.end + 4 > query.length) return undefined
  const type = query.readUInt16BE(asked.end)
  const internet = query.readUInt16BE(asked.end + 2) === CLASS_INTERNET
  const address = internet ? names.get(asked.name) : undefined
  const record = address !== undefined && type === TYPE_A ? addressRecord(address) : undefined
  const header = Buffer.alloc(HEADER_BYTES)
  header.writeUInt16BE(query.readUInt16BE(0), 0)
  header.writeUInt16BE(FLAGS | (address === undefined ? NO_SUCH_NAME : 0), 2)
  header.writeUInt16BE(1, 4)
  header.writeUInt16BE(record ? 1 : 0, 6)
  const question = query.subarray(HEADER_BYTES, asked.end + 4)
  return Buffer.concat([header, question, ...(record ? [record] : [])])
}

function addressRecord(address: string): Buffer {
  const record = Buffer.alloc(12)
  // The name is the question's, right after the header.
  record.writeUInt16BE(0xc000 | HEADER_BYTES, 0)
  record.writeUInt16BE(TYPE_A, 2)
  record.writeUInt16BE(CLASS_INTERNET, 4)
  record.writeUInt32BE(TIME_TO_LIVE_SECONDS, 6)
  record.writeUInt16BE(4, 10)
  return Buffer.concat([record, Buffer.from(address.split('.').map(Number))])
}

/** The name after the header, in lower case, and where it ends; a question's name is never compressed. */
function readName(query: Buffer): { readonly name: string; readonly end: number } | undefined {
  const labels: string[] = []
  let at = HEADER_BYTES
  for (;;) {
    const length = query[at]
    if (length === undefined || length > 63) return undefined
    at += 1
    if (length === 0) return { name: labels.join('.').toLowerCase(), end: at }
    labels.push(query.toString('latin1', at, at + length))
    at += length
  }
}
