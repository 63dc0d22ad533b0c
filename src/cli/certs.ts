import { CertificateError } from '../../certs/errors.ts'
import { secretName, servingNames } from '../../certs/secret-source.ts'
import { ConfigError } from '../config/errors.ts'
import { loadSettings } from '../config/load.ts'
import type { Settings } from '../config/settings.ts'
import { connectCluster } from '../kube/connect.ts'
import { type CertsArguments, certsUsage, parseCertsArguments } from './certs/arguments.ts'
import { issueByHand } from './certs/issue.ts'
import { reportOnCertificate } from './certs/show.ts'
import { certsText } from './certs/text.ts'
import { UsageError } from './errors.ts'
import type { Invocation } from './invocation.ts'

/** `kip certs`: shows the webhook's certificate, or issues one by hand. */
export async function certs(invocation: Invocation): Promise<number> {
  const { argv, env, readFile, print, complain } = invocation
  try {
    const args = parseCertsArguments(argv)
    if (args.action === 'help') {
      print(certsUsage)
      return 0
    }
    const { settings } = loadSettings({ argv: args.settings, env, readFile })
    return await (args.action === 'issue' ? issue : show)(args, settings, invocation)
  } catch (error) {
    if (error instanceof CertificateError) {
      complain(`kip certs: ${error.message}`)
      return 1
    }
    if (!(error instanceof UsageError || error instanceof ConfigError)) throw error
    for (const fault of error.faults) complain(`kip certs: ${fault}`)
    if (error instanceof UsageError) complain('See kip certs --help.')
    return 2
  }
}

async function show(
  { output, connect }: CertsArguments,
  settings: Settings,
  { env, print, signal }: Invocation,
): Promise<number> {
  const client = await connectCluster({ kubeconfig: settings.kubeconfig, env, signal })
  try {
    const report = await reportOnCertificate({ settings, client, connect, now: Date.now(), signal })
    print(output === 'json' ? JSON.stringify(report) : certsText(report))
    return report.faults.length === 0 ? 0 : 1
  } finally {
    await client.close()
  }
}

async function issue(
  { out: folder, names, days }: CertsArguments,
  { namespace, admission }: Settings,
  { print }: Invocation,
): Promise<number> {
  const all = names.length > 0 ? names : servingNames({ ...admission, namespace })
  const end = await issueByHand({ folder, names: all, days, now: Date.now() })
  const files = ['tls.crt', 'tls.key', 'ca.crt'].map((file) => `--from-file=${folder}/${file}`)
  print(`issued for ${all.join(', ')}; ends ${new Date(end).toISOString().slice(0, 10)}`)
  print(
    'Set admission.certificate to secret, and give it to the cluster, now and when it is renewed:',
  )
  print(
    `  kubectl -n ${namespace} create secret generic ${secretName} ${files.join(' ')} --dry-run=client -o yaml | kubectl apply -f -`,
  )
  print(`${folder}/ca.key signs the next one; keep it, and keep it out of the cluster.`)
  return 0
}
