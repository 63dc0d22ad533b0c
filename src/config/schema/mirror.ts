import { backupPattern, dnsSubdomain } from '../patterns.ts'
import type { SectionSchema } from '../schema-types.ts'
import type { MirrorSettings } from '../settings.ts'

export const mirrorSchema: SectionSchema<MirrorSettings> = {
  type: 'object',
  description: 'Backing images up to a registry of yours.',
  additionalProperties: false,
  properties: {
    registry: {
      type: 'string',
      pattern: backupPattern,
      default: '',
      'x-flag': ['backupRegistry'],
      'x-expects':
        'host[:port][/path] in lower case, without scheme and trailing "/" (for Docker Hub: docker.io/<user>)',
      description:
        'Backup registry with an optional path, such as `registry.example.com/mirror`. Empty: nothing is mirrored.',
    },
    mapping: {
      type: 'string',
      enum: ['path', 'flat'],
      default: 'path',
      description:
        "`path` keeps host and path of the source below the backup; `flat` is imgCloneCtrl's `<registry>:a_b_c_tag` in one repository, where two sources can collide (the second by name is not copied: `PlaceTaken`).",
    },
    user: {
      type: 'string',
      default: '',
      'x-flag': ['backupRegistryUser'],
      description: 'User of the backup registry. Empty: from `registries.credentialsFile`.',
    },
    password: {
      type: 'string',
      default: '',
      'x-flag': ['backupRegistryPassword'],
      'x-secret': true,
      description:
        'Password of that user. Better in a file: whoever may read the pod can read its arguments.',
    },
    passwordFile: {
      type: 'string',
      default: '',
      description:
        'File with the password of that user, such as one of a mounted Secret. It is read again while kip runs, so that a new password needs no restart.',
    },
    pullSecret: {
      type: 'string',
      pattern: `^$|${dnsSubdomain}`,
      'x-expects': 'the name of a Secret',
      default: '',
      description:
        'Name of the Secret with which pods pull from the backup. Pods are rewritten only where their namespace holds a Secret of that name, and get it appended to their `imagePullSecrets`. The pods that hold the images name it too, in the namespace of kip itself. Empty: nodes need none.',
    },
    concurrency: {
      type: 'integer',
      minimum: 1,
      maximum: 64,
      default: 4,
      description: 'Images copied at a time.',
    },
    preCacheWaitSeconds: {
      type: 'integer',
      minimum: 0,
      default: 60,
      description:
        'How long pre-caching waits for the backup copy of an image before it takes the source.',
    },
  },
}
