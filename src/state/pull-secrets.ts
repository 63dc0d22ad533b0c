import type { KubeClient } from '../kube/client.ts'
import type { Log } from '../kube/log.ts'
import { Reflector } from '../kube/reflector.ts'
import { resourceOf } from '../kube/resource.ts'

export interface PullSecretsOptions {
  readonly client: KubeClient
  /** Name of the Secret, the same in every namespace. */
  readonly name: string
  readonly log: Log
}

/** Which namespaces hold the Secret that copies are pulled with; kept by watch while {@link run} runs. */
export interface PullSecrets {
  readonly name: string
  run(signal: AbortSignal): Promise<void>
  /** Resolves when all are known; also where kip may not look, and then no namespace counts as holding one. */
  readonly synced: Promise<void>
  in(namespace: string): boolean
}

/**
 * Follows the Secrets of one name, in all namespaces, by their metadata alone.
 *
 * RBAC can narrow this: an authorizer takes the name that a field selector asks for as the name of the request, so a
 * ClusterRole with `resourceNames` opens this one name to list and watch, and no other Secret.
 *
 * @see https://kubernetes.io/docs/reference/access-authn-authz/rbac/#referring-to-resources
 */
export function createPullSecrets({ client, name, log }: PullSecretsOptions): PullSecrets {
  const reflector = new Reflector<true>({
    client,
    resource: resourceOf('secrets'),
    fieldSelector: `metadata.name=${name}`,
    metadataOnly: true,
    // One that is being deleted goes before the pod's image is pulled.
    project: ({ metadata }) => (metadata?.deletionTimestamp === undefined ? true : undefined),
    optional: true,
    log,
  })
  return {
    name,
    run: (signal) => reflector.run(signal),
    synced: reflector.synced,
    in: (namespace) => reflector.get(`${namespace}/${name}`) === true,
  }
}
