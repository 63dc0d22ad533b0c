import type { PullerSettings } from '../config/settings.ts'
import { canMountImages } from './node-abilities.ts'
import type { NodeView } from './node-view.ts'
import type { StrategyName } from './strategies/strategies.ts'

export interface StrategyInput {
  readonly setting: PullerSettings['strategy']
  /** Whether a dry run came back with its image volume: servers that do not know it drop it without a word. */
  readonly serverKeepsVolumes: boolean
  /** Nodes that the puller serves; undefined: kip may not read nodes. */
  readonly nodes: readonly NodeView[] | undefined
}

export interface StrategyVerdict {
  readonly strategy: StrategyName
  /** Why, for the log. */
  readonly reason: string
}

/** How images are to be held, by what the server and every node can do. Pure. */
export function chooseStrategy(input: StrategyInput): StrategyVerdict {
  const { setting, serverKeepsVolumes, nodes } = input
  if (setting === 'init' || setting === 'sleep') return { strategy: setting, reason: 'as set' }
  const init = (reason: string): StrategyVerdict => ({ strategy: 'init', reason })
  if (!serverKeepsVolumes) return init('the API server takes no image volumes')
  if (nodes === undefined) return init('kip may not read nodes, and so not know what they can')
  const poor = nodes.find((node) => !canMountImages(node))
  if (poor !== undefined) {
    const { name, kubelet, runtime } = poor
    return init(`node ${name} (kubelet ${kubelet}, ${runtime}) mounts no image volumes`)
  }
  return { strategy: 'volume', reason: 'the API server and all nodes take image volumes' }
}
