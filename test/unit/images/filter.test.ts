import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createImageFilter } from '../../../src/images/filter.ts'

const digest = `sha256:${'a'.repeat(64)}`
const nginx = 'docker.io/library/nginx'

describe('image filter', () => {
  const matching: [pattern: string, matched: string[], not: string[]][] = [
    ['**', [`${nginx}:1`, `a.test:5000/x/y@${digest}`], []],
    [
      nginx,
      [nginx, `${nginx}:1`, `${nginx}:1@${digest}`, `${nginx}@${digest}`],
      [`${nginx}x:1`, `${nginx}/sub:1`, `x.${nginx}:1`],
    ],
    [`${nginx}:1.*`, [`${nginx}:1.2`, `${nginx}:1.2@${digest}`], [`${nginx}:1`, `${nginx}:112`]],
    [`${nginx}@${digest}`, [`${nginx}@${digest}`], [`${nginx}:1@${digest}`]],
    ['docker.io/library/*', [`${nginx}:1`], ['docker.io/a/b:1', 'docker.io/library/a/b:1']],
    ['docker.io/**', [`${nginx}:1`, 'docker.io/a/b/c:1'], ['dockerxio/a/b:1', 'quay.io/a:1']],
    ['*/library/**', [`${nginx}:1`], ['docker.io/other/library/x:1']],
    ['**:latest', ['a.test/b:latest', `a.test/b:latest@${digest}`], ['a.test/b:1']],
    ['a.test:5000/?', ['a.test:5000/x:1'], ['a.test:5000/xy:1', 'a.test:5000/x/y:1']],
    ['[::1]:5000/*', ['[::1]:5000/a:1'], [':/a:1']],
  ]
  for (const [pattern, matched, not] of matching) {
    it(pattern, () => {
      const filter = createImageFilter({ include: [pattern], exclude: [] })
      assert.deepEqual([...matched, ...not].filter(filter), matched)
    })
  }

  it('takes what any pattern includes and none excludes', () => {
    const filter = createImageFilter({ include: ['a.test/**', 'b.test/**'], exclude: ['*/x/*'] })
    const all = ['a.test/y:1', 'b.test/y/z:1', 'a.test/x/y:1', 'c.test/y:1']
    assert.deepEqual(all.filter(filter), ['a.test/y:1', 'b.test/y/z:1'])
    assert.deepEqual(all.filter(createImageFilter({ include: [], exclude: [] })), [])
  })
})
