import { loadSettings } from '../../src/config/load.ts'
import type { Settings } from '../../src/config/settings.ts'

/**
 * Settings of a puller whose DaemonSets are named `kip`.
 *
 * @param env further variables, and others than these
 */
export function pullerSettings(
  namespace: string,
  env: Readonly<Record<string, string>> = {},
): Settings {
  return loadSettings({
    argv: [],
    env: {
      NAMESPACE: namespace,
      DAEMONSET_NAME: 'kip',
      KIP_IMAGE: 'origin.test:5000/kip-sleep:1',
      ...env,
    },
    readFile: () => '',
  }).settings
}

/** Keeps a puller to the nodes that fake kubelets play for a namespace. */
export function playedNodes(namespace: string): { readonly NODE_SELECTOR: string } {
  return { NODE_SELECTOR: JSON.stringify({ 'kip-test/nodes': namespace }) }
}
