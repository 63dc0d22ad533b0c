import type { Identity } from './pki.ts'

/**
 * A kubeconfig that holds all it needs, so that it can be copied; JSON, which is YAML too.
 *
 * @param options.cluster - name of cluster and context
 */
export function kubeconfig(options: {
  readonly cluster: string
  readonly server: string
  readonly authority: string
  readonly identity: Identity
}): string {
  const base64 = (text: string): string => Buffer.from(text).toString('base64')
  const name = options.cluster
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      {
        name,
        cluster: {
          server: options.server,
          'certificate-authority-data': base64(options.authority),
        },
      },
    ],
    users: [
      {
        name,
        user: {
          'client-certificate-data': base64(options.identity.certificate),
          'client-key-data': base64(options.identity.key),
        },
      },
    ],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  }
  return `${JSON.stringify(config, undefined, 2)}\n`
}
