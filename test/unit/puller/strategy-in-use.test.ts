import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { projectNode } from '../../../src/puller/node-view.ts'
import { StrategyInUse } from '../../../src/puller/strategy-in-use.ts'
import { silentLog } from '../../support/silent-log.ts'
import { pullerSettings } from './driver.ts'

const settleMs = 600_000

const node = (name: string, containerd = '2.2.9') =>
  projectNode({
    metadata: { name },
    status: {
      nodeInfo: {
        architecture: 'amd64',
        operatingSystem: 'linux',
        kubeletVersion: 'v1.35.4',
        containerRuntimeVersion: `containerd://${containerd}`,
      },
    },
  })
const able = [node('n1')]
const mixed = [...able, node('n2', '1.6.20')]

function start(strategy: 'auto' | 'volume' = 'auto') {
  const log = silentLog()
  const settings = { ...pullerSettings, strategy }
  return { log, inUse: new StrategyInUse({ settings, serverKeepsVolumes: true, settleMs, log }) }
}

describe('the strategy in use', () => {
  it('changes at once for a node that cannot mount images, and back when there was none for long', () => {
    const { inUse, log } = start()
    assert.equal(inUse.choose(able, 0), 'volume')
    assert.equal(inUse.choose(mixed, 1000), 'init')
    assert.equal(inUse.choose(mixed, 2000), 'init')
    assert.equal(inUse.choose(able, 2000 + settleMs - 1), 'init')
    assert.equal(inUse.choose(able, 2000 + settleMs), 'volume')
    assert.deepEqual(
      log.lines.map(({ level, fields }) => [level, (fields as { strategy: string }).strategy]),
      [
        ['info', 'volume'],
        ['info', 'init'],
        ['info', 'volume'],
      ],
    )
  })

  it('is not what was asked for where a server drops volumes, which is a warning', () => {
    const { inUse, log } = start('volume')
    inUse.choose(able, 0)
    inUse.lostVolume()
    assert.equal(inUse.choose(able, 1000), 'init')
    assert.equal(inUse.choose(able, 1000 + 2 * settleMs), 'init')
    assert.deepEqual(
      log.lines.map(({ level }) => level),
      ['info', 'warn'],
    )
  })
})
