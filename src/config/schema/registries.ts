import { hostPattern } from '../patterns.ts'
import type { SectionSchema } from '../schema-types.ts'
import type { RegistriesSettings } from '../settings.ts'

const hosts = {
  type: 'array',
  items: { type: 'string', pattern: hostPattern },
  'x-expects': 'a registry host, such as registry.example.com or registry.example.com:5000',
} as const

export const registriesSchema: SectionSchema<RegistriesSettings> = {
  type: 'object',
  description: 'How registries are spoken to.',
  additionalProperties: false,
  properties: {
    caFile: {
      type: 'string',
      default: '',
      description: "PEM bundle that is trusted for registries, besides the system's.",
    },
    http: {
      ...hosts,
      default: [],
      description: 'Hosts that are spoken to by plain http. All others speak TLS.',
    },
    credentialsFile: {
      type: 'string',
      default: '',
      description:
        'Docker `config.json` with credentials for the backup registry, used where `mirror.user` is empty. Entries of other hosts are not used: sources are asked as anybody, so that nothing is shared that only some may pull. Empty: the backup is asked anonymously.',
    },
    trustedRealms: {
      ...hosts,
      default: [],
      description:
        "Token servers that the credentials of registries may be shown to, besides those that by their name are the same owner's: for a registry `registry.corp` whose tokens come from `gitlab.corp`, the latter.",
    },
    allow: {
      ...hosts,
      default: [],
      description:
        'The only hosts that kip may dial. Empty: every host, save for the addresses that are always refused (loopback, link-local, the API server, Services). A host in the list may have such an address.',
    },
  },
}
