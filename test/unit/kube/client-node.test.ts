import assert from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('../../..', import.meta.url))

test('the large client library is loaded for a kubeconfig alone, and then when it is asked for', () => {
  const uses = globSync(['src/**/*.ts', 'certs/*.ts'], { cwd: root }).flatMap((file) =>
    readFileSync(join(root, file), 'utf8')
      .split('\n')
      .filter((line) => /['"]@kubernetes\/client-node/.test(line))
      .filter((line) => !line.startsWith('import type '))
      .map((line) => `${file}: ${line.trim()}`),
  )
  assert.deepEqual(uses, [
    "src/kube/kubeconfig.ts: const library = await import('@kubernetes/client-node')",
  ])
})
