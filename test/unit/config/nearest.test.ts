import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { nearest } from '../../../src/config/nearest.ts'
import { quantityValue } from '../../../src/config/quantity.ts'

describe('nearest', () => {
  const names = ['mirror.registry', 'mirror.user', 'port', 'admission.port', 'backupRegistry']

  it('finds a name with a few wrong letters, whatever the case', () => {
    assert.equal(nearest('mirror.regsitry', names), 'mirror.registry')
    assert.equal(nearest('backupregistry', names), 'backupRegistry')
    assert.equal(nearest('porrt', names), 'port')
  })

  it('finds the one name that ends so', () => {
    assert.equal(nearest('registry', names), 'mirror.registry')
    assert.equal(nearest('name', ['a.name', 'b.name']), undefined)
  })

  it('finds nothing for a stranger', () => {
    assert.equal(nearest('colour', names), undefined)
  })
})

describe('quantityValue', () => {
  it('reads what Kubernetes writes', () => {
    const cases: [string, number][] = [
      ['.05', 0.05],
      ['50m', 0.05],
      ['1Mi', 1_048_576],
      ['1M', 1_000_000],
      ['2e3', 2000],
      ['0', 0],
    ]
    for (const [text, value] of cases) assert.equal(quantityValue(text), value, text)
  })

  it('is NaN for what is no quantity, which compares with nothing', () => {
    for (const text of ['', 'x', '1Xi']) assert.ok(Number.isNaN(quantityValue(text)))
  })
})
