import { configurationName, configurations, webhookName } from '../../certs/trusted-bundle.ts'
import type { Settings } from '../config/settings.ts'
import { rewritesAnything } from '../decide/policy.ts'
import { requirementsOf } from '../kube/label-selector.ts'
import type {
  LabelSelectorRequirement,
  MutatingWebhook,
  MutatingWebhookConfiguration,
  OwnerReference,
} from '../kube/types.ts'
import { ignoreFlag, mirrorPodAnnotation } from '../state/flags.ts'

/** Where reviews are posted to, unless the URL that is set names another path. */
const defaultPath = '/mutate'

// Every namespace that is named here is compared with on every pod of the cluster, and the object has to stay small.
const namesLimit = 1_000

export interface ConfigurationOptions {
  readonly settings: Pick<Settings, 'namespace' | 'admission' | 'discovery'>
  /** Namespaces to leave out by name. */
  readonly excluded: readonly string[]
  /** PEM; empty: the system's authorities signed what is served. */
  readonly bundle: string
  /** The configuration goes when this goes. */
  readonly owner?: OwnerReference | undefined
}

/** Whether there is anything for the webhook to do. */
export function needsWebhook({
  admission,
  mirror,
}: Pick<Settings, 'admission' | 'mirror'>): boolean {
  return rewritesAnything(admission) && mirror.registry !== ''
}

/** Path of the server that reviews are posted to. */
export function reviewPath({ url }: Pick<Settings['admission'], 'url'>): string {
  const path = url === '' ? '/' : new URL(url).pathname
  return path === '/' ? defaultPath : path
}

/**
 * Builds the configuration that has the API server ask kip; pure. Fields that the API server would fill in stand here with
 * its defaults, so that what is read back can be compared.
 *
 * It fails open, and what kip must not touch is left out here already, so that not even a kip that hangs costs those pods
 * anything. What cannot be said here (more than a thousand flagged namespaces, the flags of workloads) the handler knows.
 */
export function buildConfiguration(options: ConfigurationOptions): MutatingWebhookConfiguration {
  const { settings, bundle, owner } = options
  const webhook: MutatingWebhook = {
    name: webhookName,
    admissionReviewVersions: ['v1'],
    clientConfig: {
      ...endpoint(settings),
      ...(bundle !== '' && { caBundle: Buffer.from(bundle).toString('base64') }),
    },
    rules: [
      rule('pods', 'CREATE'),
      // Not UPDATE of pods: their images change only in ways that templates are for.
      rule('pods/ephemeralcontainers', 'UPDATE'),
    ],
    failurePolicy: 'Ignore',
    timeoutSeconds: settings.admission.timeoutSeconds,
    // A review that is no dry run hastens a look at what it names.
    sideEffects: 'NoneOnDryRun',
    matchPolicy: 'Equivalent',
    // Other webhooks add sidecars after this one was asked.
    reinvocationPolicy: 'IfNeeded',
    namespaceSelector: {
      matchExpressions: [
        ...requirementsOf(settings.discovery.namespaceSelector),
        notFlagged,
        {
          key: 'kubernetes.io/metadata.name',
          operator: 'NotIn',
          values: namesToLeaveOut(settings, options.excluded),
        },
      ],
    },
    objectSelector: { matchExpressions: [notFlagged] },
    // Not what is already rewritten: another webhook may have added a container to it since. Any condition at all costs the
    // API server some 0.5 ms a pod, to convert it for them, and a further one next to nothing.
    matchConditions: [
      {
        name: 'no-static-pod',
        expression: withoutAnnotation(mirrorPodAnnotation),
      },
      {
        name: 'not-opted-out',
        expression: `${withoutAnnotation(ignoreFlag)} || object.metadata.annotations['${ignoreFlag}'] != 'true'`,
      },
    ],
  }
  return {
    apiVersion: `${configurations.group}/${configurations.version}`,
    kind: 'MutatingWebhookConfiguration',
    metadata: {
      name: configurationName,
      labels: {
        'app.kubernetes.io/managed-by': 'kip',
        'app.kubernetes.io/part-of': 'kip',
      },
      ...(owner && { ownerReferences: [owner] }),
    },
    webhooks: [webhook],
  }
}

const notFlagged: LabelSelectorRequirement = {
  key: ignoreFlag,
  operator: 'NotIn',
  values: ['true'],
}

function endpoint(settings: ConfigurationOptions['settings']): MutatingWebhook['clientConfig'] {
  const { url, service: name } = settings.admission
  const path = reviewPath(settings.admission)
  if (url !== '') return { url: new URL(path, url).href }
  return { service: { namespace: settings.namespace, name, path, port: 443 } }
}

function rule(resource: string, operation: string): NonNullable<MutatingWebhook['rules']>[number] {
  return {
    apiGroups: [''],
    apiVersions: ['v1'],
    resources: [resource],
    operations: [operation],
    scope: 'Namespaced',
  }
}

/** Sorted; those that nothing else names (they bear no flag) before those that do. */
function namesToLeaveOut(
  { namespace, discovery }: ConfigurationOptions['settings'],
  excluded: readonly string[],
): readonly string[] {
  const unflagged = ['kube-system', namespace, ...discovery.ignoreNamespaces]
  return [...new Set([...unflagged, ...excluded])].slice(0, namesLimit).sort()
}

function withoutAnnotation(key: string): string {
  return `!has(object.metadata.annotations) || !('${key}' in object.metadata.annotations)`
}
