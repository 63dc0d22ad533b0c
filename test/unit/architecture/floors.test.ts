/** docs/architecture.md, held: a room imports from floors below it only, and workspaces from nothing of kip's. */
import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))

const floors: Readonly<Record<string, number>> = {
  'src/main.ts': 6,
  'src/run.ts': 5,
  'src/parts': 5,
  'src/lifecycle.ts': 5,
  'src/last-words.ts': 5,
  'src/multi-cluster.ts': 5,
  'src/live-settings.ts': 5,
  'src/mode.ts': 5,
  'src/mirror-worker.ts': 5,
  'src/settle-heap.ts': 5,
  'src/stop-signal.ts': 5,
  'src/text-file.ts': 5,
  'src/registries.ts': 5,
  'src/authorities.ts': 5,
  'src/cluster-networks.ts': 5,
  'src/admission': 4,
  'src/mirror': 4,
  'src/puller': 4,
  'src/cli': 4,
  'src/discovery': 3,
  'src/resolver': 3,
  'src/decide': 3,
  'src/state': 2,
  'src/images': 2,
  certs: 2,
  'src/kube': 1,
  'src/config': 1,
  'src/metrics': 1,
  'src/image-copy': 0,
  'src/lease-lock': 0,
}
/** A contract that a lower floor states for a higher one to be called by. */
const contracts = new Set(['src/cli/invocation.ts'])
/** Rooms of one floor that may be looked into: a state is kept by its walker and mapping, and both are pure. */
const neighbours = new Set(['src/state > src/images'])

interface Import {
  readonly from: string
  readonly to: string
}

function roomOf(file: string): string {
  const parts = file.split('/')
  if (parts[0] === 'certs') return 'certs'
  return parts.length === 2 ? file : parts.slice(0, 2).join('/')
}

function imports(): readonly Import[] {
  return globSync(['src/**/*.ts', 'certs/*.ts'], { cwd: root })
    .filter((file) => !file.includes('node_modules'))
    .flatMap((from) => {
      const text = readFileSync(join(root, from), 'utf8')
      const found = text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)
      return [...found].flatMap(([, name = '']) => {
        if (name.startsWith('.')) return [{ from, to: normalize(join(dirname(from), name)) }]
        if (name === '@containers/image-copy') return [{ from, to: 'src/image-copy/src/index.ts' }]
        return name === 'lease-lock' ? [{ from, to: 'src/lease-lock/src/index.ts' }] : []
      })
    })
    .filter(({ to }) => to.endsWith('.ts'))
}

test('every file stands in a room whose floor is known', () => {
  const unknown = imports()
    .flatMap(({ from, to }) => [from, to])
    .filter((file) => floors[roomOf(file)] === undefined)
  assert.deepEqual([...new Set(unknown)], [])
})

test('a room imports only from floors below it', () => {
  const wrong = imports().filter(({ from, to }) => {
    const [room, other] = [roomOf(from), roomOf(to)]
    if (room === other || contracts.has(to) || neighbours.has(`${room} > ${other}`)) return false
    // The files of the fifth floor are one room: they put the program together.
    if (floors[room] === 5 && floors[other] === 5) return false
    return (floors[other] ?? 0) >= (floors[room] ?? 0)
  })
  assert.deepEqual(
    wrong.map(({ from, to }) => `${from} > ${to}`),
    [],
  )
})

test('the workspaces import nothing from the rest', () => {
  const wrong = imports().filter(({ from, to }) => {
    const workspace = /^src\/(?:image-copy|lease-lock)\//.exec(from)?.[0]
    return workspace !== undefined && !to.startsWith(workspace)
  })
  assert.deepEqual(wrong, [])
})

test('no two files import each other', () => {
  const all = new Set(imports().map(({ from, to }) => `${from} > ${to}`))
  const mutual = [...all].filter((arrow) => all.has(arrow.split(' > ').reverse().join(' > ')))
  assert.deepEqual(mutual, [])
})
