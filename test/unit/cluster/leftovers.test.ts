import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { lastLines } from '../../cluster/process.ts'
import { identityOf, isAlive, ownIdentity, parseStat } from '../../cluster/process-identity.ts'
import { clusterFolder, leftoverReason } from '../../cluster/state.ts'

describe('a process', () => {
  it('is read from a line of /proc whose name holds spaces and parentheses', () => {
    const rest = 'S 7 1 1 0 -1 4194304 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0'
    assert.deepEqual(parseStat(`42 (a (b) c) S) ${rest}`), {
      pid: 42,
      state: 'S',
      parent: 7,
      startTime: '98765',
    })
    assert.equal(parseStat(''), undefined)
    assert.equal(parseStat('42 (cut'), undefined)
  })

  it('is another one when it started at another time', () => {
    const own = ownIdentity()
    assert.equal(isAlive(own), true)
    assert.equal(isAlive({ ...own, startTime: '1' }), false)
  })

  it('is gone when nothing has its number', () => {
    // One more than the highest number that Linux gives.
    assert.equal(identityOf(4_194_305), undefined)
  })
})

describe('a cluster is a leftover', () => {
  const now = { bootId: 'b', isAlive: ({ pid }: { pid: number }) => pid === 1 }
  const owner = (pid: number) => ({ pid, startTime: '5' })

  it('when the process that was starting it is gone', () => {
    const state = { bootId: 'b', phase: 'starting', owner: owner(2) } as const
    const reason = 'process 2, which it belonged to, is gone while it was starting'
    assert.equal(leftoverReason(state, now), reason)
    assert.equal(leftoverReason({ ...state, owner: owner(1) }, now), undefined)
  })

  it('when the test that it belonged to is gone, though it is ready', () => {
    const state = { bootId: 'b', phase: 'ready', owner: owner(2) } as const
    assert.match(leftoverReason(state, now) ?? '', /process 2, which it belonged to, is gone$/)
  })

  it('when it was taken down half way', () => {
    const state = { bootId: 'b', phase: 'stopping', owner: owner(2) } as const
    assert.match(leftoverReason(state, now) ?? '', /is gone while it was stopping$/)
  })

  it('when the machine was started anew', () => {
    assert.match(leftoverReason({ bootId: 'a', phase: 'ready' }, now) ?? '', /started anew/)
  })

  it('when nobody can tell what it was', () => {
    assert.match(leftoverReason(undefined, now) ?? '', /cannot be read/)
  })

  it('but not when it was told to stay', () => {
    assert.equal(leftoverReason({ bootId: 'b', phase: 'ready' }, now), undefined)
  })
})

describe('the name of a cluster', () => {
  it('is one that folders can bear', () => {
    for (const name of ['', 'A', '1a', 'a-', '../a', 'a/b', 'a'.repeat(33)])
      assert.throws(() => clusterFolder(name), { code: 'KIP_CLUSTER_USAGE' }, name)
    assert.match(clusterFolder('run-12-2'), /\/clusters\/run-12-2$/)
  })
})

describe('the end of a log', () => {
  it('is its last lines, the last of them whole', () => {
    assert.equal(lastLines('a\nb\nc\n', 2), 'b\nc')
    assert.equal(lastLines('a', 40), 'a')
    assert.equal(lastLines('', 40), '')
  })
})
