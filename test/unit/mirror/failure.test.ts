import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseReference, RegistryError } from '@containers/image-copy'
import { failedMirror } from '../../../src/mirror/failure.ts'

const now = Date.parse('2026-01-01T00:00:00Z')

function after(
  error: unknown,
  { source = 'quay.io/team/app:1', target = 'backup.test/mirror/quay.io/team/app:1' } = {},
) {
  const { state, code, message, attempts, retryAt } = failedMirror({
    entry: { registry: 'backup.test/mirror', reference: target, attempts: 1 },
    error,
    source: parseReference(source),
    target: parseReference(target),
    random: 0,
    now,
  })
  assert.equal(attempts, 2)
  assert.equal(retryAt, new Date(now + 15_000).toISOString(), 'every failure is tried again')
  return [state, code, message]
}

const unauthorized = (details: { host: string; registry?: string; repository?: string }) =>
  new RegistryError('COPY_UNAUTHORIZED', 'the answer said <b>secret</b>', details)

const blocked = (registry: string) => [
  'Blocked',
  'NeedsCredentials',
  `${registry} asks for credentials; only images that anybody may read are copied`,
]

test('a source that asks for credentials blocks the copy', () => {
  assert.deepEqual(after(unauthorized({ host: 'quay.io' })), blocked('quay.io'))
})

test('a backup that answers under another name than its own is not taken for the source', () => {
  const target = 'docker.io/acme/quay.io_team_app:1'
  for (const host of ['registry-1.docker.io', 'auth.docker.io']) {
    assert.deepEqual(after(unauthorized({ host, registry: 'docker.io' }), { target }), [
      ...['Failed', 'COPY_UNAUTHORIZED', 'backup docker.io: COPY_UNAUTHORIZED'],
    ])
  }
})

test('in one registry the repository tells source and backup apart', () => {
  const both = { source: 'docker.io/library/nginx:1', target: 'docker.io/acme/nginx:1' }
  const at = (repository?: string) =>
    after(
      unauthorized({
        ...{ host: 'registry-1.docker.io', registry: 'docker.io' },
        ...(repository && { repository }),
      }),
      both,
    )
  const failed = ['Failed', 'COPY_UNAUTHORIZED']
  assert.deepEqual(at('acme/nginx'), [...failed, 'backup docker.io: COPY_UNAUTHORIZED'])
  assert.deepEqual(at('library/nginx'), blocked('docker.io'))
  assert.deepEqual(at(), [...failed, 'docker.io: COPY_UNAUTHORIZED'], 'nobody knows')
})

test('of an error that is no registry’s the entry bears its code, and no text of it', () => {
  const text = 'no such file /etc/secret'
  const [state, code, message] = after(Object.assign(new Error(text), { code: 'ENOENT' }))
  assert.deepEqual([state, code], ['Failed', 'ENOENT'])
  assert.doesNotMatch(String(message), /secret/)
  for (const error of [new Error(text), Object.assign(new Error(text), { code: 'so secret' }), 1]) {
    const [state, code, message] = after(error)
    assert.deepEqual([state, code], ['Failed', 'CopyFailed'])
    assert.doesNotMatch(String(message), /secret/)
  }
})
