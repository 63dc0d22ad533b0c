import type { SectionSchema } from '../schema-types.ts'
import type { MultiClusterSettings } from '../settings.ts'
import { httpsUrl } from './forms.ts'

export const multiClusterSchema: SectionSchema<MultiClusterSettings> = {
  type: 'object',
  description: "KIP's old multi-cluster mode: IMAGES in several users' clusters, by one replica.",
  additionalProperties: false,
  properties: {
    enabled: {
      type: 'string',
      enum: ['auto', 'true', 'false'],
      default: 'auto',
      'x-env': ['MULTICLUSTER'],
      description: '`auto`: on when provider, proxy and users are all set.',
    },
    oidcProvider: {
      ...httpsUrl,
      'x-env': ['OIDC_PROVIDER'],
      description:
        'OpenID provider; a token comes from `<oidcProvider>/token` by the client-credentials grant.',
    },
    proxyUrl: {
      ...httpsUrl,
      'x-env': ['OPENSHIFT_PROXY_URL'],
      description: 'API server, or proxy that leads each user to the right one.',
    },
    users: {
      type: 'array',
      items: { type: 'string', minLength: 1, maxLength: 256, pattern: '^[\\x21-\\x7e]+$' },
      default: [],
      'x-env': ['IMPERSONATE_USERS'],
      'x-expects': 'the name of a user',
      description:
        'Users to impersonate, `user1,user2`. Each needs `create`, `delete`, `watch` and `get` of DaemonSets in `namespace` of the cluster.',
    },
    serviceAccountId: {
      type: 'string',
      default: '',
      'x-env': ['SERVICE_ACCOUNT_ID'],
      description: "kip's client id at the provider.",
    },
    serviceAccountSecret: {
      type: 'string',
      default: '',
      'x-env': ['SERVICE_ACCOUNT_SECRET'],
      'x-secret': true,
      description: 'Secret of that client. Better in the environment, from a Secret.',
    },
    caFile: {
      type: 'string',
      default: '',
      description:
        'PEM bundle that is trusted for provider and proxy, besides the public authorities. Certificates are always verified.',
    },
  },
}
