import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Inventory, type Users } from '../../../src/discovery/inventory.ts'
import type { Used } from '../../../src/discovery/reader.ts'

const every = (): boolean => true

/** An object with its key. */
interface Named extends Used {
  readonly key: string
}

function used(key: string, references: readonly string[], more: Partial<Used> = {}): Named {
  return { key, owner: '', ignored: false, references, invalid: [], asksStore: false, ...more }
}

/** An inventory that is told of objects as discovery tells it: of pods with what they used before. */
class Objects extends Inventory {
  readonly #pods = new Map<string, Named>()

  put(object: Named): void {
    if (!object.key.startsWith('Pod ')) {
      this.set(object.key, object)
      return
    }
    this.changePod(object.key.slice(4), object, this.#pods.get(object.key))
    this.#pods.set(object.key, object)
  }

  remove(key: string): void {
    if (!key.startsWith('Pod ')) {
      this.delete(key)
      return
    }
    this.changePod(key.slice(4), undefined, this.#pods.get(key))
    this.#pods.delete(key)
  }
}

/** Users by looking at everything anew. */
function recount(objects: readonly Named[], reference: string): Omit<Users, 'owners'> {
  const byKey = new Map(objects.map((object) => [object.key, object]))
  const tops = new Set<string>()
  const namespaces = new Set<string>()
  let pods = 0
  for (const object of objects) {
    if (object.ignored || !object.references.includes(reference)) continue
    let top: Named | undefined = object
    while (top !== undefined && !top.ignored && top.owner !== '') top = byKey.get(top.owner)
    if (top === undefined || top.ignored) continue
    tops.add(top.key)
    namespaces.add(object.key.split(' ')[1]?.split('/')[0] ?? '')
    if (object.key.startsWith('Pod ')) pods++
  }
  return { pods, workloads: tops.size, namespaces: [...namespaces].sort() }
}

describe('inventory', () => {
  const inventory = (): { inventory: Objects; told: string[] } => {
    const told: string[] = []
    const made = new Objects((reference, optedOut) =>
      told.push(optedOut ? `${reference} opted out` : reference),
    )
    return { inventory: made, told }
  }

  it('counts pods under the workload at the top of their chain', () => {
    const { inventory: all } = inventory()
    all.put(used('Deployment shop/web', ['a']))
    all.put(used('ReplicaSet shop/web-1', ['a'], { owner: 'Deployment shop/web' }))
    for (let i = 0; i < 3; i++) {
      all.put(used(`Pod shop/web-1-${i}`, ['a', 'sidecar'], { owner: 'ReplicaSet shop/web-1' }))
    }
    all.put(used('Pod lone/pod', ['a']))
    assert.deepEqual(all.usersOf('a', every), {
      pods: 4,
      workloads: 2,
      namespaces: ['shop', 'lone'],
      owners: [
        { kind: 'Pod', namespace: 'lone', name: 'pod' },
        { kind: 'Deployment', namespace: 'shop', name: 'web' },
      ],
    })
    assert.equal(all.usersOf('sidecar', every).workloads, 1)
    assert.equal(all.usersOf('a', (namespace) => namespace === 'lone').pods, 1)
    assert.equal(all.usersOf('none', every).workloads, 0)
  })

  it('counts a workload without pods', () => {
    const { inventory: all } = inventory()
    all.put(used('CronJob shop/nightly', ['job']))
    assert.deepEqual(all.usersOf('job', every), {
      pods: 0,
      workloads: 1,
      namespaces: ['shop'],
      owners: [{ kind: 'CronJob', namespace: 'shop', name: 'nightly' }],
    })
  })

  it('leaves out a flagged workload with its pods, live', () => {
    const { inventory: all, told } = inventory()
    const deployment = used('Deployment shop/web', ['a'])
    all.put(deployment)
    all.put(used('ReplicaSet shop/web-1', ['a'], { owner: 'Deployment shop/web' }))
    all.put(used('Pod shop/web-1-x', ['a', 'sidecar'], { owner: 'ReplicaSet shop/web-1' }))
    all.goLive()
    all.put({ ...deployment, ignored: true })
    assert.equal(all.usersOf('a', every).workloads, 0)
    assert.equal(all.usersOf('sidecar', every).workloads, 0)
    assert.ok(told.includes('sidecar opted out') && told.includes('a opted out'))
    told.length = 0
    all.put(deployment)
    assert.equal(all.usersOf('a', every).pods, 1)
    assert.ok(told.includes('sidecar') && told.includes('a'))
  })

  it('does not count pods of a workload that is not known yet', () => {
    const { inventory: all, told } = inventory()
    all.goLive()
    all.put(used('Pod shop/job-1-x', ['a'], { owner: 'Job shop/job-1' }))
    assert.equal(all.usersOf('a', every).workloads, 0)
    told.length = 0
    all.put(used('Job shop/job-1', ['b']))
    assert.ok(told.includes('a'))
    assert.equal(all.usersOf('a', every).workloads, 1)
  })

  it('counts pods of a kind that nobody watches', () => {
    const { inventory: all } = inventory()
    all.put(used('Pod shop/x', ['a'], { owner: 'Job.batch.volcano.sh shop/j' }))
    assert.deepEqual(all.usersOf('a', every).owners, [
      { kind: 'Job.batch.volcano.sh', namespace: 'shop', name: 'j' },
    ])
  })

  it('survives owners that own each other', () => {
    const { inventory: all } = inventory()
    all.put(used('ReplicaSet a/x', ['i'], { owner: 'ReplicaSet a/y' }))
    all.put(used('ReplicaSet a/y', [], { owner: 'ReplicaSet a/x' }))
    assert.equal(all.usersOf('i', every).workloads, 1)
  })

  it('names the first ten owners in order', () => {
    const { inventory: all } = inventory()
    for (let i = 99; i >= 0; i--) all.put(used(`Pod ns/p${String(i).padStart(2, '0')}`, ['a']))
    const { owners, workloads } = all.usersOf('a', every)
    assert.equal(workloads, 100)
    assert.deepEqual(
      owners.map(({ name }) => name),
      ['p00', 'p01', 'p02', 'p03', 'p04', 'p05', 'p06', 'p07', 'p08', 'p09'],
    )
  })

  it('tells nothing of a change that is none, and all of a namespace that turned', () => {
    const { inventory: all, told } = inventory()
    const references = ['a', 'b']
    all.put(used('Pod shop/x', references))
    all.put(used('Pod lone/x', ['c']))
    all.goLive()
    all.put(used('Pod shop/x', references))
    assert.deepEqual(told, [])
    all.touchNamespace('shop', true)
    assert.deepEqual(told, ['a opted out', 'b opted out'])
  })

  it('forgets what nobody uses', () => {
    const { inventory: all } = inventory()
    all.put(used('Pod shop/x', ['a']))
    all.put(used('Pod shop/x', ['b']))
    assert.deepEqual([...all.references()], ['b'])
    all.remove('Pod shop/x')
    all.remove('Pod shop/never-there')
    assert.equal(all.size, 0)
  })

  it('ends equal to a recount, and has told of every difference, whatever happens', () => {
    const keys = [
      'Deployment a/d',
      'ReplicaSet a/r1',
      'ReplicaSet a/r2',
      'Job b/j',
      'Pod a/p1',
      'Pod a/p2',
      'Pod b/p3',
    ]
    const images = ['i', 'j', 'k']
    const step = fc.record({
      key: fc.constantFrom(...keys),
      owner: fc.constantFrom('', 'Deployment a/d', 'ReplicaSet a/r1', 'Job b/j'),
      ignored: fc.constantFrom(false, false, true),
      references: fc.subarray(images),
      gone: fc.constantFrom(false, false, true),
    })
    const ranks: Record<string, number> = { Pod: 1, Job: 2, ReplicaSet: 2, Deployment: 3 }
    const rank = (key: string): number => ranks[key.split(' ')[0] ?? ''] ?? 0
    const namespaceOf = (key: string): string => key.slice(key.indexOf(' '), key.indexOf('/'))
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const objects = new Map<string, Named>()
        const told = new Set<string>()
        const all = new Objects((reference) => told.add(reference))
        all.goLive()
        const latest = new Map<string, string>()
        const none = JSON.stringify(recount([], ''))
        for (const { gone, ...next } of steps) {
          // Owners are of a higher rank and of the same namespace, as controllers make them.
          const fits =
            rank(next.owner) > rank(next.key) && namespaceOf(next.owner) === namespaceOf(next.key)
          const owner = fits ? next.owner : ''
          const object = used(next.key, next.references, { ...next, owner })
          if (gone) {
            objects.delete(next.key)
            all.remove(next.key)
          } else {
            objects.set(next.key, object)
            all.put(object)
          }
          for (const image of images) {
            const expected = recount([...objects.values()], image)
            const { owners, ...users } = all.usersOf(image, every)
            assert.deepEqual({ ...users, namespaces: [...users.namespaces].sort() }, expected)
            assert.equal(owners.length, Math.min(10, expected.workloads))
            const text = JSON.stringify(expected)
            if ((latest.get(image) ?? none) !== text) assert.ok(told.has(image), `${image} untold`)
            latest.set(image, text)
          }
          told.clear()
        }
      }),
      { numRuns: 2_000 },
    )
  })

  it('takes ten thousand pods of one image and their churn in little time', () => {
    const { inventory: all } = inventory()
    all.put(used('Deployment shop/web', ['a']))
    all.put(used('ReplicaSet shop/web-1', ['a'], { owner: 'Deployment shop/web' }))
    const pods = Array.from({ length: 10_000 }, (_, i) =>
      used(`Pod shop/web-1-${i}`, ['a'], { owner: 'ReplicaSet shop/web-1' }),
    )
    const started = performance.now()
    for (const pod of pods) all.put(pod)
    all.goLive()
    for (const pod of pods) all.put({ ...pod })
    for (let i = 0; i < 1_000; i++) all.usersOf('a', every)
    for (const { key } of pods) all.remove(key)
    // Some 15 ms on one slow core; a summary that looked at every pod would take a hundred times that.
    assert.ok(performance.now() - started < 1_000)
    assert.equal(all.usersOf('a', every).pods, 0)
  })
})

describe('on which nodes the users of an image may run', () => {
  const reference = 'r.test/a:1'
  const demand = (key: string) => ({ terms: [[{ key, operator: 'Exists' }]], tolerations: [] })
  const [gpu, ssd, old] = [demand('gpu'), demand('ssd'), demand('old')]

  it('is told by their pods, and by templates while there are none', () => {
    const inventory = new Objects(() => {})
    inventory.put(used('Deployment n/d', [reference], { demand: ssd }))
    const replicas = { owner: 'Deployment n/d', demand: ssd }
    inventory.put(used('ReplicaSet n/d-1', [reference], replicas))
    assert.deepEqual(inventory.demandsOf(reference, every), [ssd])
    const pod = { owner: 'ReplicaSet n/d-1', demand: gpu }
    inventory.put(used('Pod n/d-1-a', [reference], pod))
    inventory.put(used('Pod n/d-1-b', [reference], pod))
    assert.deepEqual(inventory.demandsOf(reference, every), [gpu], 'admission changed them')
    inventory.remove('Pod n/d-1-a')
    assert.deepEqual(inventory.demandsOf(reference, every), [gpu])
    inventory.remove('Pod n/d-1-b')
    assert.deepEqual(inventory.demandsOf(reference, every), [ssd])
  })

  it('is told by the templates of DaemonSets, whose pods each ask for a node', () => {
    const inventory = new Objects(() => {})
    inventory.put(used('DaemonSet n/d', [reference], { demand: ssd }))
    inventory.put(used('Pod n/d-a', [reference], { owner: 'DaemonSet n/d', demand: old }))
    assert.deepEqual(inventory.demandsOf(reference, every), [ssd])
  })

  it('is told of all users that count, each demand once, and again when it changes', () => {
    const told: string[] = []
    const inventory = new Objects((changed) => told.push(changed))
    for (const name of ['a', 'b']) {
      inventory.put(used(`StatefulSet n/${name}`, [reference], { demand: ssd }))
    }
    inventory.put(used('Pod n/lone', [reference], { demand: gpu }))
    inventory.put(used('Pod excluded/lone', [reference], { demand: old }))
    inventory.put(used('Pod n/ignored', [reference], { demand: old, ignored: true }))
    const counts = (namespace: string): boolean => namespace === 'n'
    assert.deepEqual(new Set(inventory.demandsOf(reference, counts)), new Set([ssd, gpu]))
    inventory.goLive()
    inventory.put(used('Pod n/lone', [reference], { demand: old }))
    assert.ok(told.includes(reference))
    assert.deepEqual(new Set(inventory.demandsOf(reference, counts)), new Set([ssd, old]))
    assert.deepEqual(inventory.demandsOf('r.test/b:1', every), [])
  })
})
