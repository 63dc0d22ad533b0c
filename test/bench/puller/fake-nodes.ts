import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import type { KubeObject } from '../../../src/kube/types.ts'
import type { Cluster } from '../../cluster/index.ts'
import { ContenderError } from '../harness/measure.ts'

/** All have names of one length. */
export function nodeName(index: number): string {
  return `node-${String(index).padStart(4, '0')}`
}

/** A node as its kubelet registers it, of a version that mounts images. */
export function nodeObject(index: number): KubeObject {
  const name = nodeName(index)
  const room = { cpu: '32', memory: '256Gi', pods: '110', 'ephemeral-storage': '2Ti' }
  const now = new Date().toISOString().replace(/\.\d+Z$/, 'Z')
  const architecture = 'amd64'
  const status = {
    capacity: room,
    allocatable: room,
    conditions: [
      {
        ...{ type: 'Ready', status: 'True', reason: 'KubeletReady' },
        ...{ lastHeartbeatTime: now, lastTransitionTime: now },
      },
    ],
    addresses: [{ type: 'InternalIP', address: '10.0.0.1' }],
    nodeInfo: {
      ...{ architecture, operatingSystem: 'linux', kubeletVersion: 'v1.35.4' },
      containerRuntimeVersion: 'containerd://2.2.9',
    },
  }
  const labels = { 'kubernetes.io/os': 'linux', 'kubernetes.io/arch': architecture }
  return {
    ...{ apiVersion: 'v1', kind: 'Node' },
    ...{ metadata: { name, labels }, status },
  } as KubeObject
}

/** Renewed four times as often, and waited for for an hour: a thousand nodes' leases would keep kwok busier than their pods. */
const LEASE_SECONDS = 3600

/** Plays the kubelets of all nodes with kwok. @param program kwok */
export async function playNodes(cluster: Cluster, program: string): Promise<AsyncDisposable> {
  const folder = await mkdtemp(join(tmpdir(), 'kip-kwok-'))
  const config = join(folder, 'kwok.yaml')
  await writeFile(
    config,
    [nodeStage, ...podStages].map((stage) => JSON.stringify(stage)).join('\n---\n'),
  )
  const args = [
    ...[`--kubeconfig=${cluster.kubeconfig}`, `--config=${config}`, '--manage-all-nodes=true'],
    ...[`--node-lease-duration-seconds=${LEASE_SECONDS}`, '--v=WARN'],
  ]
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', program, ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said = text(child.stderr)
  const exited = once(child, 'exit')
  const started = Promise.race([
    exited.then(async () => {
      throw new ContenderError(`kwok ended: ${(await said).slice(-2000)}`)
    }),
    new Promise((resolve) => setTimeout(resolve, 1000)),
  ])
  await started
  return {
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exited
      await rm(folder, { recursive: true, force: true })
    },
  }
}

const isAlive = { key: '.metadata.deletionTimestamp', operator: 'DoesNotExist' }

/** Nodes register themselves as ready; without any stage of theirs kwok takes none for its own. */
const nodeStage = {
  ...stageOf('ready'),
  spec: {
    resourceRef: { apiGroup: 'v1', kind: 'Node' },
    selector: {
      matchExpressions: [
        {
          key: '.status.conditions.[] | select( .type == "Ready" ) | .status',
          ...{ operator: 'NotIn', values: ['True'] },
        },
      ],
    },
    next: { statusTemplate: `conditions:\n${conditions({ Ready: 'True' })}` },
  },
}

/**
 * What a kubelet writes of a pod whose images are on the node: taken on, its sandbox made, its containers running. A status
 * names the mounts of its containers, as since 1.33.
 */
const podStages = [
  podStage('accepted', [{ key: '.status.startTime', operator: 'DoesNotExist' }], {
    template: `
startTime: {{ Now | Quote }}
phase: Pending
conditions:
${conditions({ PodReadyToStartContainers: 'False', Initialized: 'True', Ready: 'False', ContainersReady: 'False' })}
containerStatuses:
{{ range .spec.containers }}
- { name: {{ .name | Quote }}, image: {{ .image | Quote }}, imageID: "", ready: false, started: false, restartCount: 0, state: { waiting: { reason: ContainerCreating } } }
{{ end }}
`,
  }),
  podStage(
    'sandboxed',
    [
      { key: '.status.startTime', operator: 'Exists' },
      { key: '.status.podIP', operator: 'DoesNotExist' },
    ],
    {
      template: `
podIP: 10.0.0.2
podIPs: [{ ip: 10.0.0.2 }]
hostIP: 10.0.0.1
hostIPs: [{ ip: 10.0.0.1 }]
conditions:
${conditions({ PodReadyToStartContainers: 'True' })}
`,
    },
  ),
  podStage(
    'running',
    [
      { key: '.status.podIP', operator: 'Exists' },
      { key: '.status.phase', operator: 'In', values: ['Pending'] },
    ],
    {
      template: `
phase: Running
conditions:
${conditions({ Ready: 'True', ContainersReady: 'True' })}
containerStatuses:
{{ range .spec.containers }}
- name: {{ .name | Quote }}
  image: {{ .image | Quote }}
  imageID: sha256:0000000000000000000000000000000000000000000000000000000000000000
  containerID: containerd://0000000000000000000000000000000000000000000000000000000000000000
  ready: true
  started: true
  restartCount: 0
  state: { running: { startedAt: {{ Now | Quote }} } }
  volumeMounts:
  {{ range .volumeMounts }}
  - { name: {{ .name | Quote }}, mountPath: {{ .mountPath | Quote }} }
  {{ end }}
{{ end }}
`,
    },
  ),
  {
    ...stageOf('deleted'),
    spec: {
      resourceRef: { apiGroup: 'v1', kind: 'Pod' },
      selector: { matchExpressions: [{ ...isAlive, operator: 'Exists' }] },
      next: { delete: true },
    },
  },
]

function podStage(
  name: string,
  when: readonly object[],
  { template }: { readonly template: string },
): object {
  return {
    ...stageOf(name),
    spec: {
      resourceRef: { apiGroup: 'v1', kind: 'Pod' },
      selector: { matchExpressions: [isAlive, ...when] },
      next: { statusTemplate: template },
    },
  }
}

function stageOf(name: string): object {
  return { apiVersion: 'kwok.x-k8s.io/v1alpha1', kind: 'Stage', metadata: { name } }
}

function conditions(all: Readonly<Record<string, string>>): string {
  return Object.entries(all)
    .map(
      ([type, status]) =>
        `- { type: ${type}, status: "${status}", lastTransitionTime: {{ Now | Quote }} }`,
    )
    .join('\n')
}
