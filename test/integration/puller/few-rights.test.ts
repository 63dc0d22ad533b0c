import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { createObject, deleteObject, getObject } from '../../../src/kube/apply.ts'
import type { KubeClient } from '../../../src/kube/client.ts'
import { connectCluster } from '../../../src/kube/connect.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { DaemonSet, KubeList } from '../../../src/kube/types.ts'
import { acquireCluster } from '../../support/cluster.ts'
import { playedNodes } from '../../support/puller-settings.ts'
import { roleClient } from '../../support/role-client.ts'
import { startPuller } from '../../support/running-puller.ts'
import { waitUntil } from '../../support/wait-until.ts'
import { startFakeKubelets } from './fake-kubelets.ts'

const cluster = await acquireCluster({ nodes: 0 })
const { signal } = new AbortController()
const namespaces = { group: '', version: 'v1', plural: 'namespaces' }
const image = (name: string): string => `origin.test:5000/${name}:1`

describe('the puller on a real API server', { concurrency: true }, () => {
  for (const [whose, verbs] of [
    ["KIP's own Role", ['create', 'delete', 'list', 'watch', 'get']],
    ["the Role of the multi-cluster mode's users", ['create', 'delete', 'watch', 'get']],
  ] as const) {
    describe(`under ${whose}`, { concurrency: 1 }, () => {
      const namespace = `few-${verbs.length}-${process.pid}`
      const daemonSets = { group: 'apps', version: 'v1', plural: 'daemonsets', namespace }
      let admin: KubeClient
      let client: KubeClient
      let stopKubelets: () => Promise<void>

      before(async () => {
        admin = await connectCluster({ kubeconfig: cluster.kubeconfig })
        const object = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } }
        await createObject(admin, namespaces, object, { signal })
        const accounts = { group: '', version: 'v1', plural: 'serviceaccounts', namespace }
        await waitUntil('the default service account', () =>
          getObject(admin, accounts, 'default', { signal }),
        )
        client = await roleClient({
          client: admin,
          kubeconfig: cluster.kubeconfig,
          namespace,
          rules: [{ apiGroups: ['apps'], resources: ['daemonsets'], verbs }],
        })
        stopKubelets = await startFakeKubelets({
          client: admin,
          namespace,
          nodes: [`${namespace}-n1`, `${namespace}-n2`],
          isBad: () => false,
        })
      })

      after(async () => {
        await stopKubelets()
        await deleteObject(admin, namespaces, namespace, { signal })
        await client.close()
        await admin.close()
      })

      const shards = async (): Promise<readonly DaemonSet[]> => {
        const request = { method: 'GET', path: resourcePath(daemonSets), signal } as const
        return (await admin.request<KubeList<DaemonSet>>(request)).items ?? []
      }
      const contents = async (): Promise<string> =>
        (await shards())
          .map(({ metadata, spec }) => {
            const [, ...images] = spec?.template?.spec?.initContainers ?? []
            return `${metadata?.name}: ${images.map((one) => one.image).join()}`
          })
          .join('; ')

      /** Runs a puller until the namespace looks as told, and tells what was cached. */
      async function run(names: readonly string[], expected: string): Promise<number | undefined> {
        const running = await startPuller({
          ...{ client, namespace },
          sleepImage: image('kip-sleep'),
          images: names.map(image),
          env: playedNodes(namespace),
        })
        try {
          await waitUntil(expected, async () => (await contents()) === expected, 60_000)
          await waitUntil('the counts', () =>
            names.every((name) => running.nodes(image(name))?.cached === 2),
          )
          return running.nodes(image('a'))?.desired
        } finally {
          await running[Symbol.asyncDispose]()
          assert.deepEqual(
            running.log.lines.filter(({ level }) => level === 'error'),
            [],
          )
        }
      }

      it('holds images in one DaemonSet and knows where from its counts', async () => {
        assert.equal(await run(['a', 'b'], `kip: ${image('a')},${image('b')}`), 2)
      })

      it('holds a further one by a successor, on which the nodes are ready before the first goes', async () => {
        const images = ['a', 'b', 'c'].map(image).join()
        assert.equal(await run(['a', 'b', 'c'], `kip-b: ${images}`), 2)
      })
    })
  }
})
