import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))
const read = (pattern: string[]) =>
  globSync(pattern, { cwd: root }).map((file) => readFileSync(join(root, file), 'utf8'))

test('every metric stands in the docs, and the docs name no other', () => {
  const declared = read(['src/**/*.ts', 'certs/*.ts']).flatMap((text) =>
    [...text.matchAll(/'((?:kip|workqueue|reflector)_[a-z_]+)'/g)].map(([, name = '']) => name),
  )
  const documented = read(['docs/*.md']).flatMap((text) =>
    [...text.matchAll(/`((?:kip|workqueue|reflector)_[a-z_]+)/g)].map(([, name = '']) => name),
  )
  assert.ok(declared.length > 0)
  assert.deepEqual([...new Set(documented)].sort(), [...new Set(declared)].sort())
})
