import { isMultiCluster } from '../config/checks.ts'
import { ConfigError } from '../config/errors.ts'
import { loadSettings } from '../config/load.ts'
import type { Settings } from '../config/settings.ts'
import { connectCluster } from '../kube/connect.ts'
import { isNotFound, KubeApiError, KubeConfigError } from '../kube/errors.ts'
import { UsageError } from './errors.ts'
import type { Invocation } from './invocation.ts'
import { parseWhyArguments, type WhyArguments, whyUsage } from './why/arguments.ts'
import { deployedSettings } from './why/deployed-settings.ts'
import { reportOn, type WhyReport } from './why/report.ts'
import { whyText } from './why/text.ts'

/** `kip why`: tells what kip does about an image, or about those of a pod, and why. */
export async function why(invocation: Invocation): Promise<number> {
  const { argv, print, complain } = invocation
  try {
    const args = parseWhyArguments(argv)
    if (args.help) {
      print(whyUsage)
      return 0
    }
    const report = await ask(args, invocation)
    print(args.output === 'json' ? JSON.stringify(report) : whyText(report))
    return report.images.every(({ lacks }) => lacks.length === 0) ? 0 : 1
  } catch (error) {
    for (const fault of faultsOf(error, invocation.signal)) complain(`kip why: ${fault}`)
    if (error instanceof UsageError) complain('See kip why --help.')
    return 2
  }
}

async function ask(args: WhyArguments, invocation: Invocation): Promise<WhyReport> {
  const { env, readFile, signal } = invocation
  const { settings: own } = loadSettings({
    ...{ argv: args.settings, env, readFile },
    areElsewhere: true,
  })
  const { namespace, kubeconfig } = own
  const client = await connectCluster({ kubeconfig, env, signal })
  try {
    const { deployment, config, subject } = args
    const place = { namespace, deployment, config }
    const deployed = await deployedSettings({ client, ...place, readFile, signal })
    const name = `deployment ${namespace}/${deployment}`
    refuseListAlone(deployed ?? own)
    return await reportOn({
      ...{ client, subject, now: Date.now(), signal },
      settings: deployed ?? own,
      settingsOf: deployed === undefined ? `your environment: there is no ${name}` : name,
    })
  } finally {
    await client.close()
  }
}

/** Where the static list is all that there is, nothing is decided, and CachedImages may be left from another time. */
function refuseListAlone({ discovery, multiCluster }: Settings): void {
  const why =
    (isMultiCluster(multiCluster) && 'it runs in the multi-cluster mode') ||
    (discovery.enabled === 'false' && 'discovery.enabled is false')
  if (!why) return
  throw new ConfigError([`kip holds the list IMAGES and does nothing else, since ${why}`])
}

/** @throws what is none of the reasons for which nothing can be told */
function faultsOf(error: unknown, signal: AbortSignal): readonly string[] {
  if (signal.aborted && signal.reason instanceof Error) return [signal.reason.message]
  if (error instanceof UsageError || error instanceof ConfigError) return error.faults
  if (isNotFound(error)) {
    return [`${error.message}; without CachedImages kip knows of no image by itself`]
  }
  if (error instanceof KubeApiError || error instanceof KubeConfigError) return [error.message]
  throw error
}
