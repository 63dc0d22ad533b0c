import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { remainsOf, tracesOf } from '../../support/cluster-tool.ts'

describe('traces of a cluster', () => {
  it('take a record that nobody has written into yet for no process', () => {
    const folder = mkdtempSync(join(tmpdir(), 'kip-traces-'))
    try {
      mkdirSync(join(folder, 'processes'))
      writeFileSync(join(folder, 'processes', 'etcd'), readFileSync('/proc/self/stat'))
      writeFileSync(join(folder, 'processes', 'kube-apiserver'), '')
      writeFileSync(join(folder, 'cluster.json'), '{"id":"traces-of-none"}')
      const remains = remainsOf(tracesOf(folder))
      assert.equal(remains.length, 2)
      assert.match(remains[0] ?? '', new RegExp(`^process ${process.pid} \\d+$`))
      assert.equal(remains[1], `folder ${folder}`)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})
