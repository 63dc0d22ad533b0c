import { ClusterError } from '../errors.ts'

/** What of a node is other than usual. */
export interface NodeSettings {
  /** Size of a disk of its own for images, containers and pods, in MiB; default: they are on the machine's disk. */
  readonly diskMib?: number
  /** Blobs of an image that containerd downloads at the same time; default: containerd's (3, of all images together). */
  readonly downloads?: number
  /**
   * Of the KubeletConfiguration, over what every node has.
   *
   * A kubelet collects image garbage every five minutes, and within ten seconds when its disk is nearly full. It spares
   * what it has not known for `imageMinimumGCAge`, and knows what it sees in that moment for no time at all: `-1s` spares nothing.
   */
  readonly kubelet?: Readonly<Record<string, unknown>>
}

/** @throws ClusterError (KIP_CLUSTER_USAGE) saying which of them is wrong */
export function parseNodeSettings(text: string): NodeSettings {
  const fault = (what: string) =>
    new ClusterError('KIP_CLUSTER_USAGE', `settings of a node: ${what}`)
  let settings: unknown
  try {
    settings = JSON.parse(text)
  } catch {
    throw fault(`${JSON.stringify(text)} is no JSON`)
  }
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings))
    throw fault(`${text} is no object`)
  for (const [key, value] of Object.entries(settings)) {
    if (!isSetting(key, value)) throw fault(`${key} cannot be ${JSON.stringify(value)}`)
  }
  return settings
}

function isSetting(key: string, value: unknown): boolean {
  if (key === 'kubelet') return typeof value === 'object' && value !== null
  return (key === 'diskMib' || key === 'downloads') && Number.isInteger(value) && Number(value) > 0
}
