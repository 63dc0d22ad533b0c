import type { KubeClient } from '../../../src/kube/client.ts'
import { isConflict, isNotFound } from '../../../src/kube/errors.ts'
import { Reflector } from '../../../src/kube/reflector.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { Pod } from '../../../src/kube/types.ts'
import { silentLog } from '../../support/silent-log.ts'

interface Unbound {
  readonly name: string
  readonly node: string
}

/**
 * Binds pods of DaemonSets to the nodes that their affinity names, which is all that there is to schedule: the scheduler itself
 * keeps every pod of the cluster, in 3 GiB here.
 */
export function playScheduler(client: KubeClient, namespace: string): AsyncDisposable {
  const controller = new AbortController()
  const { signal } = controller
  const pods = { group: '', version: 'v1', plural: 'pods', namespace }
  const bind = async ({ name, node }: Unbound): Promise<void> => {
    const binding = {
      ...{ apiVersion: 'v1', kind: 'Binding', metadata: { name } },
      target: { apiVersion: 'v1', kind: 'Node', name: node },
    }
    const path = resourcePath(pods, name, 'binding')
    await client.request({ method: 'POST', path, body: binding, signal }).catch((error) => {
      // Asked for a second time, or of a pod that is gone.
      if (!signal.aborted && !isConflict(error) && !isNotFound(error)) throw error
    })
  }
  const watch = new Reflector<Unbound>({
    ...{ client, resource: pods, fieldSelector: 'spec.nodeName=', log: silentLog() },
    project: unbound,
    onEvent: ({ type, value }) => {
      if (type === 'added') void bind(value)
    },
  })
  const ended = watch.run(signal)
  return {
    async [Symbol.asyncDispose]() {
      controller.abort()
      await ended
    },
  }
}

interface NodeAffinity {
  readonly nodeAffinity?: {
    readonly requiredDuringSchedulingIgnoredDuringExecution?: {
      readonly nodeSelectorTerms?: readonly {
        readonly matchFields?: readonly { readonly values?: readonly string[] }[]
      }[]
    }
  }
}

function unbound({ metadata, spec }: Pod): Unbound | undefined {
  const { nodeAffinity } = (spec?.affinity ?? {}) as NodeAffinity
  const [term] =
    nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution?.nodeSelectorTerms ?? []
  const node = term?.matchFields?.[0]?.values?.[0]
  const name = metadata?.name
  return name === undefined || node === undefined ? undefined : { name, node }
}
