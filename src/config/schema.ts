import { admissionSchema } from './schema/admission.ts'
import { discoverySchema } from './schema/discovery.ts'
import { namespaceName, port } from './schema/forms.ts'
import { leaderElectionSchema } from './schema/leader-election.ts'
import { mirrorSchema } from './schema/mirror.ts'
import { multiClusterSchema } from './schema/multi-cluster.ts'
import { pullerSchema } from './schema/puller.ts'
import { registriesSchema } from './schema/registries.ts'
import type { SectionSchema } from './schema-types.ts'
import type { Settings } from './settings.ts'

/**
 * Every setting: its shape, default, meaning, and other spellings. The loader, its messages and the configuration page
 * are all derived from here; its sections lie in `schema/`. JSON Schema draft 07; keywords of kip's own start with `x-`.
 */
export const settingsSchema: SectionSchema<Settings> = {
  type: 'object',
  description: 'What the process itself needs.',
  additionalProperties: false,
  properties: {
    namespace: {
      ...namespaceName,
      default: 'k8s-image-puller',
      'x-env': ['NAMESPACE'],
      description:
        'Namespace that kip lives in and makes its DaemonSets in. It is always left out of discovery.',
    },
    kubeconfig: {
      type: 'string',
      default: '',
      'x-env': ['KUBECONFIG'],
      'x-flag': ['kubeconfig'],
      description:
        "Path of a kubeconfig. Empty: `~/.kube/config` if it exists, else the pod's service account.",
    },
    port: {
      ...port,
      default: 8080,
      description: 'Port of `/healthz`, `/readyz` and `/metrics`.',
    },
    pod: {
      type: 'object',
      description: 'Who this process is. The manifests fill it by the downward API.',
      additionalProperties: false,
      properties: {
        name: {
          type: 'string',
          default: '',
          'x-env': ['POD_NAME'],
          description: 'Name of the pod. Empty: outside a cluster, the host name is used.',
        },
        address: {
          type: 'string',
          default: '',
          'x-env': ['POD_IP'],
          description: 'IP address at which other replicas reach this one.',
        },
      },
    },
    log: {
      type: 'object',
      description: 'The log, one JSON object a line on standard output.',
      additionalProperties: false,
      properties: {
        level: {
          type: 'string',
          enum: ['trace', 'debug', 'info', 'warn', 'error'],
          default: 'info',
          description: 'Least severe level that is written.',
        },
      },
    },
    registries: registriesSchema,
    discovery: discoverySchema,
    mirror: mirrorSchema,
    admission: admissionSchema,
    puller: pullerSchema,
    multiCluster: multiClusterSchema,
    leaderElection: leaderElectionSchema,
  },
}
