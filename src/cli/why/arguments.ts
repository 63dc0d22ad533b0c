import { parseArgs } from 'node:util'
import { UsageError } from '../errors.ts'
import { readArguments } from '../read-arguments.ts'

/** What the arguments of `kip why` ask for. */
export interface WhyArguments {
  readonly help: boolean
  /** An image reference, or a pod as `NAMESPACE/POD`. */
  readonly subject: string
  readonly output: 'text' | 'json'
  /** Deployment of kip, whose settings count. */
  readonly deployment: string
  /** A copy of kip's file of settings. */
  readonly config: string | undefined
  /** Flags for the settings. */
  readonly settings: readonly string[]
}

/** What `kip why --help` prints. */
export const whyUsage = `Usage: kip why IMAGE [OPTIONS]
       kip why NAMESPACE/POD [OPTIONS]

Tells what kip does about an image, or about each image of a pod, and why: what its source is, whether it is copied, which nodes
hold it, what new pods start from, and what to do where something lacks. It reads the cluster by your own rights and writes
nothing: CachedImages, kip's Deployment and ConfigMaps, and the namespaces and pods that are asked about. Reasons are explained in
docs/reasons.md. What could be either is a pod if there is one of that name; write an image with its tag to have it taken for one.

The exit code is 0 if all is as it should be, 1 if something lacks, 2 if nothing could be told.

  --kubeconfig FILE   the cluster to ask
  --namespace NAME    where kip lives; default k8s-image-puller
  --deployment NAME   kip's Deployment; default kubernetes-image-puller. Where there is none, your environment counts
  --config FILE       a copy of kip.yaml, where kip has one
  --output text|json  default text
  -h, --help          print this`

const OPTIONS = {
  help: { type: 'boolean', short: 'h', default: false },
  config: { type: 'string' },
  kubeconfig: { type: 'string' },
  namespace: { type: 'string' },
  deployment: { type: 'string', default: 'kubernetes-image-puller' },
  output: { type: 'string', default: 'text' },
} as const

/** @throws UsageError with every fault at once */
export function parseWhyArguments(argv: readonly string[]): WhyArguments {
  const { values, positionals } = readArguments(() =>
    parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true }),
  )
  const { help, output, deployment, config } = values
  const [subject = '', ...more] = positionals
  const faults: string[] = []
  if (subject === '' || more.length > 0) faults.push('give one image, or one pod as NAMESPACE/POD')
  if (output !== 'text' && output !== 'json') {
    faults.push(`--output ${JSON.stringify(output)}: give text or json`)
  }
  if (deployment === '') faults.push("--deployment: name kip's Deployment")
  if (faults.length > 0 && !help) throw new UsageError(faults)
  return {
    ...{ help, subject, deployment, config },
    output: output === 'json' ? 'json' : 'text',
    settings: (['config', 'kubeconfig', 'namespace'] as const).flatMap((flag) => {
      const value = values[flag]
      return value === undefined ? [] : [`--${flag}=${value}`]
    }),
  }
}
