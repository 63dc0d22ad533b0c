import { dnsLabel } from '../patterns.ts'
import type { SectionSchema } from '../schema-types.ts'
import type { LeaderElectionSettings } from '../settings.ts'
import { namespaceName, objectName } from './forms.ts'

export const leaderElectionSchema: SectionSchema<LeaderElectionSettings> = {
  type: 'object',
  description: 'Which replica runs discovery, mirror and puller. The times are those of client-go.',
  additionalProperties: false,
  properties: {
    name: {
      ...objectName,
      default: 'kip',
      'x-flag': ['leaderElectionID'],
      description: 'Name of the Lease.',
    },
    namespace: {
      type: 'string',
      pattern: `^$|${dnsLabel}`,
      'x-expects': namespaceName['x-expects'],
      default: '',
      'x-flag': ['leaderElectionNamespace'],
      description: 'Namespace of the Lease. Empty: the same as `namespace`.',
    },
    leaseDurationSeconds: {
      type: 'integer',
      minimum: 2,
      maximum: 3600,
      default: 15,
      description: 'How long a leader that went silent is waited for.',
    },
    renewDeadlineSeconds: {
      type: 'number',
      exclusiveMinimum: 0,
      default: 10,
      description: 'How long a leader tries to renew before it stands down.',
    },
    retryPeriodSeconds: {
      type: 'number',
      exclusiveMinimum: 0,
      default: 2,
      description: 'Time between two attempts.',
    },
  },
}
