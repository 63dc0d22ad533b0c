import assert from 'node:assert/strict'
import { it } from 'node:test'
import { Blueprints } from '../../../src/puller/blueprints.ts'
import { notCramped } from '../../../src/puller/cramped.ts'
import { buildDaemonSet, readDaemonSet } from '../../../src/puller/daemon-set.ts'
import { pullerSettings } from './driver.ts'

it('shards are built anew for other nodes that take few pods, and for no others', () => {
  const options = { namespace: 'kip', settings: pullerSettings, owner: undefined }
  const blueprints = new Blueprints({ ...options, assignsUsers: false }, 'init')
  const members = [{ reference: 'r.test/a:1', container: 'a' }]
  const shard = { kind: 'fresh', index: 1, members } as const
  const observed = readDaemonSet(buildDaemonSet(shard, blueprints.current), 'kip')
  assert.ok(observed)
  const isAsBuilt = (): boolean => blueprints.fingerprint(observed) === observed.fingerprint
  assert.ok(isAsBuilt())
  blueprints.hold('init', { types: ['t.small'], alone: false })
  assert.ok(!isAsBuilt())
  blueprints.hold('init', notCramped)
  assert.ok(isAsBuilt())
})
