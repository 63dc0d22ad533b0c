import { parseArgs } from 'node:util'
import { UsageError } from '../errors.ts'
import { readArguments } from '../read-arguments.ts'

/** What the arguments of `kip certs` ask for. */
export interface CertsArguments {
  readonly action: 'help' | 'show' | 'issue'
  readonly output: 'text' | 'json'
  /** `host:port` of a server to ask what it serves. */
  readonly connect: string | undefined
  /** Folder that is written to. */
  readonly out: string
  /** Names to issue for; empty: those that the settings give. */
  readonly names: readonly string[]
  readonly days: number
  /** Flags for the settings. */
  readonly settings: readonly string[]
}

/** What `kip certs --help` prints. */
export const certsUsage = `Usage: kip certs [show] [OPTIONS]
       kip certs issue --out FOLDER [OPTIONS]

Shows the certificate of the webhook: for whom it stands, by whom it is signed, when it ends and is replaced, and whether API
servers trust it. The exit code is 0 only if nothing is wrong with it.

issue makes a certificate by hand, for a cluster in which kip is not to do so: tls.crt, tls.key, ca.crt and ca.key. An
authority (ca.crt, ca.key) that lies in the folder already signs again. Keep ca.key out of the cluster.

  --config FILE       settings, as of kip run; its environment variables count too
  --kubeconfig FILE   the cluster to ask
  --namespace NAME    where kip lives
  --output text|json  of show
  --connect HOST:PORT ask this server what it serves, such as 127.0.0.1:8443 in kip's pod
  --out FOLDER        where issue writes to
  --name NAME         host name or IP address to issue for, as often as wanted; default those of kip's Service or URL
  --days N            how long the certificate lives; default 365`

const OPTIONS = {
  help: { type: 'boolean', short: 'h', default: false },
  config: { type: 'string' },
  kubeconfig: { type: 'string' },
  namespace: { type: 'string' },
  output: { type: 'string', default: 'text' },
  connect: { type: 'string' },
  out: { type: 'string', default: '' },
  name: { type: 'string', multiple: true },
  days: { type: 'string', default: '365' },
} as const

/** @throws UsageError with every fault at once */
export function parseCertsArguments(argv: readonly string[]): CertsArguments {
  const { values, positionals } = readArguments(() =>
    parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true }),
  )
  const { output, connect, out, name: names = [], days } = values
  const [action = 'show', ...more] = positionals
  const faults: string[] = []
  if ((action !== 'show' && action !== 'issue') || more.length > 0) {
    faults.push(`${JSON.stringify(positionals.join(' '))}: give show or issue`)
  }
  if (output !== 'text' && output !== 'json') {
    faults.push(`--output ${JSON.stringify(output)}: give text or json`)
  }
  if (connect !== undefined && !/^(?:\[[\da-fA-F:]+\]|[^\s:]+):\d{1,5}$/.test(connect)) {
    faults.push(`--connect ${JSON.stringify(connect)}: give host:port`)
  }
  if (!/^[1-9]\d{0,3}$/.test(days)) {
    faults.push(`--days ${JSON.stringify(days)}: give a number from 1 to 9999`)
  }
  if (action === 'issue' && out === '') faults.push('--out: name a folder to write to')
  if (action === 'show' && out !== '') faults.push('--out: nothing is written without issue')
  if (faults.length > 0 && !values.help) throw new UsageError(faults)
  return {
    action: values.help ? 'help' : action === 'issue' ? 'issue' : 'show',
    output: output === 'json' ? 'json' : 'text',
    connect,
    out,
    names,
    days: Number(days),
    settings: (['config', 'kubeconfig', 'namespace'] as const).flatMap((flag) => {
      const value = values[flag]
      return value === undefined ? [] : [`--${flag}=${value}`]
    }),
  }
}
