import { join } from 'node:path'
import type { Cluster } from '../../cluster/index.ts'
import { NODE_FILES } from '../../cluster/node/configuration.ts'

/** All of a pull, however many images. */
const patienceMs = 400_000

/** Pulls images on a node one by one, by containerd's own client. */
export async function pullBare(
  cluster: Cluster,
  node: string,
  images: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const ctr = join(cluster.state.programs.containerd, 'ctr')
  const hosts = join(cluster.folder, 'nodes', node, NODE_FILES.registries)
  const pull = `${ctr} -n k8s.io images pull --hosts-dir "$0" "$image" >/dev/null`
  const script = `for image; do ${pull} || exit 1; done`
  await cluster.onNode(node, ['sh', '-c', script, hosts, ...images], {
    timeoutMs: patienceMs,
    signal,
  })
}
