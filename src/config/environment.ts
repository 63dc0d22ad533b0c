import type { Given, NamingSource } from './given.ts'
import { type Leaf, leaves } from './leaves.ts'
import { didYouMean } from './nearest.ts'
import { parseText } from './text.ts'

/** What Go's ParseBool takes for `MULTICLUSTER`. */
const goBooleans: Readonly<Record<string, string>> = {
  '1': 'true',
  t: 'true',
  '0': 'false',
  f: 'false',
}

const known = [...leaves.flatMap((leaf) => leaf.variables), 'KIP_CONFIG']

/** Of the repository's own tools, which run kip as a child. */
const toolVariable = /^KIP_(TEST|CLUSTER|KUBE|BENCH|DEMO)_/

/** What Kubernetes puts into a pod for a Service named `kip…`: `KIP_WEBHOOK_PORT_443_TCP_ADDR` and its kin. */
const serviceLinkName =
  /^KIP_(.*_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/
const serviceLinkValue = /^(tcp|udp|sctp):\/\//

/**
 * Reads the environment: KIP's variables under their own names, every setting as `KIP_…`, which wins over KIP's name.
 * An empty variable counts as not set. An unknown `KIP_…` is a fault.
 */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): NamingSource {
  const values = new Map<Leaf, Given>()
  const faults: string[] = []
  const warnings: string[] = []
  const text = (name: string): string => {
    const value = env[name]?.trim() ?? ''
    return serviceLinkValue.test(value) && name.endsWith('_PORT') ? '' : value
  }

  for (const leaf of leaves) {
    const [first, ...others] = leaf.variables.filter((name) => text(name) !== '')
    if (first === undefined) continue
    // IMAGES stay text until they are read item by item.
    const value =
      leaf.key === 'puller.images' && !text(first).startsWith('[')
        ? text(first)
        : parseText(leaf.schema, spelledOut(first, text(first)))
    values.set(leaf, { value, spelled: first })
    for (const other of others.filter((name) => text(name) !== text(first))) {
      warnings.push(`${other}: not read, since ${first} is set`)
    }
  }

  for (const name of Object.keys(env).sort()) {
    if (isUnknown(name) && text(name) !== '') {
      faults.push(`${name}: unknown variable${didYouMean(name, known)}`)
    }
  }
  return { values, faults, warnings, configFile: text('KIP_CONFIG') || undefined }
}

function spelledOut(name: string, text: string): string {
  if (name !== 'MULTICLUSTER') return text
  const lower = text.toLowerCase()
  return goBooleans[lower] ?? lower
}

function isUnknown(name: string): boolean {
  if (!name.startsWith('KIP_') || known.includes(name)) return false
  return !toolVariable.test(name) && !serviceLinkName.test(name)
}
