import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { renderConfigurationPage } from '../../../src/config/docs.ts'
import { leaves } from '../../../src/config/leaves.ts'

describe('docs/configuration.md', () => {
  const page = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8')

  it('is up to date (npm run docs:config)', () => {
    assert.equal(page, renderConfigurationPage())
  })

  it('names every spelling of every setting', () => {
    for (const { key, variables, flags } of leaves) {
      for (const name of [key, ...variables, ...flags]) assert.ok(page.includes(name), name)
    }
  })
})
