import { dnsLabel, namespaceGlob } from '../patterns.ts'
import type { SectionSchema } from '../schema-types.ts'
import type { AdmissionSettings } from '../settings.ts'
import { globs, httpsUrl, port } from './forms.ts'

const rewritePolicy = { type: 'string', enum: ['never', 'available', 'failover'] } as const

export const admissionSchema: SectionSchema<AdmissionSettings> = {
  type: 'object',
  description: 'Pointing new pods at the backup, by a mutating webhook.',
  additionalProperties: false,
  properties: {
    enabled: {
      type: 'boolean',
      default: true,
      description: 'Answer admission requests and register the webhook.',
    },
    port: { ...port, default: 8443, description: 'Port of the webhook, TLS.' },
    service: {
      type: 'string',
      pattern: dnsLabel,
      'x-expects': 'a Service name: at most 63 lower-case letters, digits and "-"',
      default: 'kip-webhook',
      description: 'Service by which the API server reaches the webhook.',
    },
    url: {
      ...httpsUrl,
      description: 'URL instead of the Service, for a kip outside the cluster.',
    },
    certificate: {
      type: 'string',
      enum: ['own', 'secret', 'files'],
      default: 'own',
      description:
        'Who looks after the certificate of the webhook. `own`: kip, in the Secret `kip-webhook-certs`; `secret`: somebody else, such as cert-manager, in that Secret; `files`: somebody else, in `certificateFolder`.',
    },
    certificateFolder: {
      type: 'string',
      minLength: 1,
      default: '/etc/kip/webhook-certs',
      description:
        'Folder with `tls.crt`, `tls.key` and, unless a public authority signed it, `ca.crt`; for `certificate: files`.',
    },
    rewrite: {
      ...rewritePolicy,
      default: 'available',
      description:
        '`available`: a new pod is pointed at the backup copy of an image once that was verified; `failover`: only while the source is known to be down or to have lost the image; `never`: pods are left as they are.',
    },
    rules: {
      type: 'array',
      items: {
        type: 'object',
        additionalProperties: false,
        required: ['rewrite'],
        properties: {
          namespaces: {
            type: 'array',
            minItems: 1,
            items: { type: 'string', pattern: namespaceGlob },
          },
          images: { type: 'array', minItems: 1, items: globs.items },
          rewrite: rewritePolicy,
        },
      },
      default: [],
      'x-expects': 'a pattern of namespace names, or of full image names',
      description:
        'Exceptions to `rewrite`, as `{namespaces, images, rewrite}`: the first counts whose patterns match the namespace and the full name of the image. A list that is left out matches all; `*` and `?` are wildcards as in `discovery.include`.',
    },
    pullPolicy: {
      type: 'string',
      enum: ['keep', 'IfNotPresent'],
      default: 'keep',
      description:
        '`IfNotPresent`: a rewritten image with `imagePullPolicy: Always` gets this policy: its digest says all that a pull could find out, so that nodes which hold it ask no registry. `keep`: nothing but the image is changed.',
    },
    loopBreaker: {
      type: 'boolean',
      default: true,
      description:
        'Stop rewriting for an owner that deletes and recreates its pods again and again after they were rewritten, or whose rewritten pods are refused.',
    },
    timeoutSeconds: {
      type: 'integer',
      minimum: 1,
      maximum: 30,
      default: 2,
      description:
        'How long the API server waits for an answer before it takes the pod as it is. An answer takes about a millisecond, so 2 covers a busy node.',
    },
  },
}
