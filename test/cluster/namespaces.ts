/** What of another process's surroundings a command is to run in. */
export type NamespaceKind = 'net' | 'mount' | 'pid' | 'uts'

/**
 * The start of a command line that runs the rest in the namespaces of a process.
 *
 * Not `ip netns exec`: that mounts /sys anew, and the cgroups below it are gone. With `pid` the result stays as the parent of
 * the command (`forks` of a daemon).
 *
 * @param options.folder - working directory there; default: its root when `mount` is entered, else the present one
 */
export function enterNamespaces(
  pid: number,
  kinds: readonly NamespaceKind[],
  options: { readonly folder?: string } = {},
): ['nsenter', ...string[]] {
  const folder = options.folder ? [`--wdns=${options.folder}`] : []
  return ['nsenter', `--target=${pid}`, ...kinds.map((kind) => `--${kind}`), ...folder, '--']
}
