import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { leaves } from '../../../src/config/leaves.ts'
import { renderUsage } from '../../../src/config/usage.ts'

describe('renderUsage', () => {
  const text = renderUsage()

  it('names every flag and variable', () => {
    for (const { flags, variables } of leaves) {
      for (const name of [...flags.map((flag) => `--${flag}`), ...variables]) {
        assert.ok(text.includes(name), name)
      }
    }
  })

  it('breaks descriptions at 100 columns', () => {
    for (const line of text.split('\n')) assert.ok(line.length <= 140, line)
    const description = text.split('\n').filter((line) => line.startsWith('      '))
    for (const line of description.filter((one) => !one.includes('KIP_'))) {
      assert.ok(line.length <= 100, line)
    }
  })
})
