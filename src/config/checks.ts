import { serverOf } from '@containers/image-copy'
import { quantityValue } from './quantity.ts'
import type { MultiClusterSettings, Settings } from './settings.ts'

/** A rule between settings; it is asked only when each of them is well-formed by itself. */
interface Check {
  readonly keys: readonly string[]
  /** What is wrong and what to do, or undefined. `isSet`: the user gave this setting. */
  readonly fault: (settings: Settings, isSet: (key: string) => boolean) => string | undefined
}

const checks: readonly Check[] = [
  {
    keys: ['port', 'admission.port', 'admission.enabled'],
    fault: ({ port, admission }) =>
      admission.enabled && port === admission.port
        ? `port and admission.port are both ${port}: the webhook speaks TLS and needs a port of its own`
        : undefined,
  },
  {
    keys: ['mirror.registry'],
    fault: ({ mirror }) => hostFault('mirror.registry', [mirror.registry.split('/', 1)[0] ?? '']),
  },
  ...(['allow', 'http', 'trustedRealms'] as const).map(
    (list): Check => ({
      keys: [`registries.${list}`],
      fault: ({ registries }) => hostFault(`registries.${list}`, registries[list]),
    }),
  ),
  {
    keys: ['mirror.registry', 'mirror.mapping'],
    fault: ({ mirror }) =>
      mirror.mapping === 'flat' && mirror.registry !== '' && !mirror.registry.includes('/')
        ? 'mirror.mapping flat puts all images into one repository: add it to mirror.registry, as host/path'
        : undefined,
  },
  {
    keys: ['mirror.registry', 'admission.rewrite'],
    fault: ({ mirror, admission }, isSet) =>
      isSet('admission.rewrite') && admission.rewrite !== 'never' && mirror.registry === ''
        ? `admission.rewrite ${admission.rewrite} points pods at a backup, and there is none: set mirror.registry`
        : undefined,
  },
  {
    keys: ['admission.certificate', 'admission.certificateFolder'],
    fault: ({ admission: { certificate } }, isSet) =>
      isSet('admission.certificateFolder') && certificate !== 'files'
        ? `admission.certificateFolder is read only with admission.certificate files, and that is ${certificate}`
        : undefined,
  },
  {
    keys: ['mirror.registry', 'mirror.user'],
    fault: ({ mirror }) =>
      mirror.user !== '' && mirror.registry === ''
        ? 'mirror.user is the user of a backup, and there is none: set mirror.registry'
        : undefined,
  },
  {
    keys: ['mirror.user', 'mirror.password', 'mirror.passwordFile'],
    fault({ mirror }) {
      const given = Number(mirror.password !== '') + Number(mirror.passwordFile !== '')
      if (given === 2) return 'mirror.password and mirror.passwordFile are both set: keep the file'
      if (given === 1 && mirror.user === '') return 'mirror.password needs a user: set mirror.user'
      if (given === 0 && mirror.user !== '') {
        return 'mirror.user needs a password: set mirror.passwordFile'
      }
      return undefined
    },
  },
  {
    keys: ['discovery.namespaceSelector'],
    fault({ discovery: { namespaceSelector } }) {
      const wrong = namespaceSelector.matchExpressions?.find(({ operator, values = [] }) =>
        /^(Not)?In$/.test(operator) ? values.length === 0 : values.length > 0,
      )
      if (wrong === undefined) return undefined
      const what = wrong.values?.length ? 'takes no values' : 'needs values'
      return `discovery.namespaceSelector: at matchExpressions, key ${wrong.key}: operator ${wrong.operator} ${what}`
    },
  },
  {
    keys: [
      'enabled',
      'oidcProvider',
      'proxyUrl',
      'users',
      'serviceAccountId',
      'serviceAccountSecret',
    ].map((key) => `multiCluster.${key}`),
    fault({ multiCluster }) {
      if (!isMultiCluster(multiCluster)) return undefined
      const lacking = [
        ['oidcProvider', 'OIDC_PROVIDER', multiCluster.oidcProvider],
        ['proxyUrl', 'OPENSHIFT_PROXY_URL', multiCluster.proxyUrl],
        ['users', 'IMPERSONATE_USERS', multiCluster.users.join()],
        ['serviceAccountId', 'SERVICE_ACCOUNT_ID', multiCluster.serviceAccountId],
        ['serviceAccountSecret', 'SERVICE_ACCOUNT_SECRET', multiCluster.serviceAccountSecret],
      ].filter(([, , value]) => value === '')
      if (lacking.length === 0) return undefined
      const names = lacking.map(([key, variable]) => `multiCluster.${key} (${variable})`).join(', ')
      return `the multi-cluster mode lacks ${names}; MULTICLUSTER=false turns it off`
    },
  },
  {
    keys: ['puller.mode', 'puller.externalNamespace', 'puller.externalDeployment', 'namespace'],
    fault({ puller, namespace }) {
      const isOwn =
        (puller.externalNamespace || namespace) === namespace &&
        puller.externalDeployment === puller.deploymentName
      return puller.mode === 'external' && isOwn
        ? 'puller.mode external: puller.externalNamespace and externalDeployment name kip itself, not a kubernetes-image-puller'
        : undefined
    },
  },
  {
    keys: ['puller.startupTaintSeconds', 'puller.enabled', 'puller.mode'],
    fault({ puller: { startupTaintSeconds, enabled, mode } }) {
      if (startupTaintSeconds === 0 || (enabled && mode === 'own')) return undefined
      const why = enabled ? `puller.mode is ${mode}` : 'puller.enabled is false'
      return `puller.startupTaintSeconds (${startupTaintSeconds}) has nodes wait that nobody releases, since ${why}: set it to 0, and register nodes without the taint`
    },
  },
  limits('memory', ({ memoryRequest, memoryLimit }) => [memoryRequest, memoryLimit]),
  limits('cpu', ({ cpuRequest, cpuLimit }) => [cpuRequest, cpuLimit]),
  {
    keys: ['leaderElection.leaseDurationSeconds', 'leaderElection.renewDeadlineSeconds'],
    fault: ({ leaderElection: { leaseDurationSeconds, renewDeadlineSeconds } }) =>
      leaseDurationSeconds <= renewDeadlineSeconds
        ? `leaderElection.leaseDurationSeconds (${leaseDurationSeconds}) has to be more than renewDeadlineSeconds (${renewDeadlineSeconds}), or a leader still works when the next one begins`
        : undefined,
  },
  {
    keys: ['leaderElection.renewDeadlineSeconds', 'leaderElection.retryPeriodSeconds'],
    // 1.2 is the jitter that a retry period is stretched by at most, as in client-go.
    fault: ({ leaderElection: { renewDeadlineSeconds, retryPeriodSeconds } }) =>
      renewDeadlineSeconds <= 1.2 * retryPeriodSeconds
        ? `leaderElection.renewDeadlineSeconds (${renewDeadlineSeconds}) has to be more than 1.2 × retryPeriodSeconds (${retryPeriodSeconds}), or a leader has no second try`
        : undefined,
  },
]

/** Whether kip runs in KIP's old multi-cluster mode. */
export function isMultiCluster(settings: MultiClusterSettings): boolean {
  const { enabled, oidcProvider, proxyUrl, users } = settings
  if (enabled !== 'auto') return enabled === 'true'
  return oidcProvider !== '' && proxyUrl !== '' && users.length > 0
}

/** Lists the contradictions between settings that are well-formed by themselves. */
export function contradictions(
  settings: Settings,
  isSet: (key: string) => boolean,
  isRefused: (key: string) => boolean,
): string[] {
  return checks
    .filter(({ keys }) => !keys.some(isRefused))
    .map(({ fault }) => fault(settings, isSet))
    .filter((fault) => fault !== undefined)
}

function limits(
  resource: 'memory' | 'cpu',
  pick: (puller: Settings['puller']) => [request: string, limit: string],
): Check {
  const keys = [`puller.${resource}Request`, `puller.${resource}Limit`]
  return {
    keys,
    fault({ puller }) {
      const [request, limit] = pick(puller)
      return quantityValue(request) > quantityValue(limit)
        ? `puller.${resource}Request (${request}) is more than puller.${resource}Limit (${limit}): the API server refuses such pods`
        : undefined
    },
  }
}

/** Of hosts that are spelt like one and that nothing can be asked at: `10.0.0.300`, say. Empty ones are none. */
function hostFault(key: string, hosts: readonly string[]): string | undefined {
  const wrong = hosts.filter((host) => host !== '' && !isServer(host))
  if (wrong.length === 0) return undefined
  return `${key}: ${wrong.map((host) => `'${host}'`).join(', ')} is no host that can be asked: give host[:port]`
}

function isServer(host: string): boolean {
  try {
    serverOf(host)
    return true
  } catch {
    return false
  }
}
