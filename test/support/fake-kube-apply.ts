/**
 * Server-side apply, as far as the fake needs it: field sets by manager, lists by key or atomic, conflicts, and removal of
 * what a manager no longer applies. Fields are paths such as `spec.template.spec.containers[name=a].image`.
 */

export type Json =
  | null
  | boolean
  | number
  | string
  | readonly Json[]
  | { readonly [key: string]: Json }
type JsonObject = { [key: string]: Json }

/** Lists that are merged by key; all others are atomic. From the API's own schemas, by last path element. */
const listKeys: Readonly<Record<string, readonly string[]>> = {
  containers: ['name'],
  initContainers: ['name'],
  volumes: ['name'],
  env: ['name'],
  volumeMounts: ['mountPath'],
  imagePullSecrets: ['name'],
  ownerReferences: ['uid'],
  conditions: ['type'],
  webhooks: ['name'],
  mirrors: ['registry'],
}

export class ApplyConflict extends Error {
  readonly causes: readonly { readonly manager: string; readonly field: string }[]
  constructor(causes: readonly { readonly manager: string; readonly field: string }[]) {
    super(`Apply failed with ${causes.length} conflict${causes.length === 1 ? '' : 's'}`)
    this.causes = causes
  }
}

/** Who owns which leaves: manager -> path -> as `Apply` or by any other write. */
export type Managed = Map<string, { apply: boolean; paths: Set<string> }>

/** Leaves of an object: path to value. Maps and keyed lists are descended into; a keyed item has its key as a leaf. */
export function leavesOf(
  value: Json,
  path = '',
  into = new Map<string, Json>(),
): Map<string, Json> {
  if (Array.isArray(value)) {
    const keys = listKeys[path.slice(path.lastIndexOf('.') + 1)]
    if (keys === undefined) into.set(path, value)
    else {
      for (const item of value as readonly JsonObject[]) {
        const key = keys.map((name) => `${name}=${String(item[name])}`).join(',')
        into.set(`${path}[${key}]`, null)
        leavesOf(item, `${path}[${key}]`, into)
      }
    }
  } else if (typeof value === 'object' && value !== null) {
    const entries = Object.entries(value)
    if (entries.length === 0 && path !== '') into.set(path, value)
    for (const [key, child] of entries) {
      leavesOf(child, path === '' ? escapePart(key) : `${path}.${escapePart(key)}`, into)
    }
  } else into.set(path, value)
  return into
}

/** Merges what `manager` applies into `live`; returns the new object. `managed` is brought up to date. */
export function applyFields(
  live: Json,
  wanted: Json,
  managed: Managed,
  manager: string,
  force: boolean,
): Json {
  const wantedLeaves = leavesOf(wanted)
  const liveLeaves = leavesOf(live)
  const conflicts: { manager: string; field: string }[] = []
  for (const [path, value] of wantedLeaves) {
    const current = liveLeaves.get(path)
    if (current !== undefined && same(current, value)) continue
    for (const [other, { paths }] of managed) {
      if (other === manager || !paths.has(path)) continue
      if (force) paths.delete(path)
      else conflicts.push({ manager: other, field: `.${path}` })
    }
  }
  if (conflicts.length > 0) throw new ApplyConflict(conflicts)
  let result = live
  const before = managed.get(manager)
  const gone = [...(before?.apply === true ? before.paths : [])].filter(
    (path) =>
      !wantedLeaves.has(path) &&
      ![...managed].some(([other, { paths }]) => other !== manager && paths.has(path)),
  )
  // Longest first, and an item whole: without its key it would not be found.
  const items = gone.filter((path) => path.endsWith(']'))
  const parts = gone.filter((path) => !items.some((item) => path.startsWith(`${item}.`)))
  for (const path of parts.sort((a, b) => b.length - a.length))
    result = removeAt(result, parse(path))
  for (const [path, value] of wantedLeaves) result = setAt(result, parse(path), value)
  managed.set(manager, { apply: true, paths: new Set(wantedLeaves.keys()) })
  return result
}

/** Notes what a write other than apply changed. */
export function noteUpdate(before: Json, after: Json, managed: Managed, manager: string): void {
  const old = leavesOf(before)
  const now = leavesOf(after)
  const own = managed.get(`${manager}/update`) ?? { apply: false, paths: new Set<string>() }
  for (const [path, value] of now) {
    const was = old.get(path)
    if (was !== undefined && same(was, value)) continue
    for (const { paths } of managed.values()) paths.delete(path)
    own.paths.add(path)
  }
  for (const { paths } of managed.values()) {
    for (const path of paths) if (!now.has(path)) paths.delete(path)
  }
  if (own.paths.size > 0) managed.set(`${manager}/update`, own)
}

interface Step {
  readonly name: string
  readonly key?: readonly (readonly [string, string])[]
}

function escapePart(key: string): string {
  return key.replace(/[.[\]\\]/g, (char) => `\\${char}`)
}

function parse(path: string): readonly Step[] {
  const steps: Step[] = []
  const pattern = /((?:\\.|[^.[\\])+)(?:\[([^\]]*)\])?\.?/g
  for (const match of path.matchAll(pattern)) {
    const name = (match[1] ?? '').replace(/\\(.)/g, '$1')
    const key = match[2]
      ?.split(',')
      .map((pair): [string, string] => [
        pair.slice(0, pair.indexOf('=')),
        pair.slice(pair.indexOf('=') + 1),
      ])
    steps.push(key === undefined ? { name } : { name, key })
  }
  return steps
}

function matches(item: Json, key: readonly (readonly [string, string])[]): boolean {
  return key.every(([name, value]) => String((item as JsonObject)[name]) === value)
}

function setAt(root: Json, steps: readonly Step[], value: Json): Json {
  const [step, ...rest] = steps
  // An empty map asks for a map, not for one without the fields of others.
  if (step === undefined) return isObject(value) && isObject(root) ? root : value
  const object: JsonObject = isObject(root) ? { ...root } : {}
  const child = object[step.name]
  if (step.key === undefined) {
    object[step.name] = setAt(child ?? null, rest, value)
    return object
  }
  const list = Array.isArray(child) ? [...(child as Json[])] : []
  const at = list.findIndex((item) => matches(item, step.key ?? []))
  const item = at < 0 ? Object.fromEntries(step.key) : (list[at] as Json)
  const next = rest.length === 0 ? item : setAt(item, rest, value)
  if (at < 0) list.push(next)
  else list[at] = next
  object[step.name] = list
  return object
}

function removeAt(root: Json, steps: readonly Step[]): Json {
  const [step, ...rest] = steps
  if (step === undefined || !isObject(root)) return root
  const object: JsonObject = { ...root }
  const child = object[step.name]
  if (child === undefined) return root
  if (step.key !== undefined) {
    if (!Array.isArray(child)) return root
    const list = [...(child as Json[])]
    const at = list.findIndex((item) => matches(item, step.key ?? []))
    if (at < 0) return root
    if (rest.length === 0) list.splice(at, 1)
    else list[at] = removeAt(list[at] as Json, rest)
    object[step.name] = list
  } else if (rest.length === 0) delete object[step.name]
  else {
    const next = removeAt(child, rest)
    // A map that emptied goes with its last field.
    if (isObject(next) && Object.keys(next).length === 0) delete object[step.name]
    else object[step.name] = next
  }
  return object
}

function isObject(value: Json): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function same(a: Json, b: Json): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}
