import type { Condition, Mirror, Nodes, Source, Usage } from './cached-image.ts'

/**
 * What a stanza may take, as JSON. Together with a name, a reference and the API server's own bookkeeping (managed
 * fields, about 2.5 KiB with four managers) an object stays below 16 KiB, so that etcd's 1.5 MiB requests and 10,000
 * images on a small control plane (160 MB at the very worst, some 15 MB in practice) are no concern.
 */
const stanzaBytes = Object.freeze({ usage: 2560, source: 2560, mirrors: 3584, nodes: 2048 })

/** Most items of each list of a status, and characters of a message. */
const limits = Object.freeze({
  owners: 10,
  platforms: 32,
  history: 10,
  /** Backup registries whose copies are remembered: the present one and those before it. */
  mirrors: 3,
  failures: 10,
  message: 256,
})

/** Shortens a text to `max` UTF-16 units, with an ellipsis; never in the middle of a surrogate pair. */
function clip(text: string, max: number): string {
  if (text.length <= max) return text
  return `${text.slice(0, max - 1).replace(/[\uD800-\uDBFF]$/, '')}…`
}

/**
 * Leaves out owners beyond the bounds, and cuts what is too long: an owner reference, of which no API server checks kind and
 * name, says who owns a pod, and a kind that is not built in bears its group besides.
 */
export function boundUsage(usage: Usage): Usage {
  const clipped = usage.owners.slice(0, limits.owners).map(({ kind, namespace, name }) => ({
    kind: clip(kind, 63),
    namespace,
    name: clip(name, 253),
  }))
  return { ...usage, owners: fit(clipped, stanzaBytes.usage, (owners) => ({ ...usage, owners })) }
}

/** Leaves out platforms and digests of the past beyond the bounds. */
export function boundSource(source: Source): Source {
  const { message, platforms, history } = source
  const clipped: Source = {
    ...source,
    ...(message === undefined ? {} : { message: clip(message, limits.message) }),
    ...(platforms === undefined ? {} : { platforms: boundPlatforms(platforms) }),
  }
  if (history === undefined) return clipped
  const kept = fit(history.slice(0, limits.history), stanzaBytes.source, (history) => ({
    ...clipped,
    history,
  }))
  return { ...clipped, history: kept }
}

function boundPlatforms(platforms: readonly string[]): readonly string[] {
  const clipped = platforms.slice(0, limits.platforms).map((platform) => clip(platform, 64))
  return fit(clipped, stanzaBytes.source / 2, (platforms) => platforms)
}

/** Bounds the list after `newest` was put into it: what was written longest ago goes first. */
export function boundMirrors(mirrors: readonly Mirror[], newest: string): readonly Mirror[] {
  const others = mirrors.filter((mirror) => mirror.registry !== newest)
  const own = mirrors.filter((mirror) => mirror.registry === newest)
  const kept = [...others.slice(-(limits.mirrors - own.length)), ...own].map((mirror) =>
    mirror.message === undefined
      ? mirror
      : { ...mirror, message: clip(mirror.message, limits.message) },
  )
  while (kept.length > 1 && bytesOf(kept) > stanzaBytes.mirrors) kept.shift()
  return kept
}

/** Leaves out failures beyond the bounds. */
export function boundNodes(nodes: Nodes): Nodes {
  const clipped = nodes.failures.slice(0, limits.failures).map((failure) => ({
    node: clip(failure.node, 253),
    reason: clip(failure.reason, 64),
    message: clip(failure.message, limits.message),
  }))
  return {
    ...nodes,
    failures: fit(clipped, stanzaBytes.nodes, (failures) => ({ ...nodes, failures })),
  }
}

/** Cuts the message to its bound. */
export function boundCondition(condition: Condition): Condition {
  return { ...condition, message: clip(condition.message, limits.message) }
}

/** The longest head of a list with which the whole takes at most `max` bytes as JSON. */
function fit<T>(
  list: readonly T[],
  max: number,
  whole: (list: readonly T[]) => unknown,
): readonly T[] {
  let kept = list
  while (kept.length > 0 && bytesOf(whole(kept)) > max) kept = kept.slice(0, -1)
  return kept
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value))
}
