import { dnsLabel, dnsSubdomain, imageGlob } from '../patterns.ts'

/** Forms of values that several settings have. */

export const port = { type: 'integer', minimum: 1, maximum: 65535 } as const

export const globs = {
  type: 'array',
  items: { type: 'string', pattern: imageGlob },
  'x-expects':
    'a pattern of full image names, such as docker.io/library/*, ghcr.io/** or **:latest',
} as const

export const objectName = {
  type: 'string',
  minLength: 1,
  maxLength: 230,
  pattern: dnsSubdomain,
  'x-expects': 'a Kubernetes object name: lower-case letters, digits, "-" and "."',
} as const

export const httpsUrl = {
  type: 'string',
  pattern: '^(?:https://[^\\s/?#@]+(?:/[^\\s?#@]*)?)?$',
  'x-expects': 'an https:// URL without user, query and fragment',
  default: '',
} as const

export const namespaceName = {
  type: 'string',
  pattern: dnsLabel,
  'x-expects': 'a namespace name: at most 63 lower-case letters, digits and "-"',
} as const
