import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import {
  formatReference,
  ImageReferenceError,
  parseReference,
} from '../../../src/image-copy/src/index.ts'

const hex = 'a'.repeat(64)
const sha256 = `sha256:${hex}`
const sha512 = `sha512:${'b'.repeat(128)}`

describe('references', () => {
  const cases: Readonly<Record<string, string>> = {
    nginx: 'docker.io/library/nginx:latest',
    'nginx:1.27': 'docker.io/library/nginx:1.27',
    'bitnami/nginx': 'docker.io/bitnami/nginx:latest',
    'docker.io/nginx': 'docker.io/library/nginx:latest',
    'index.docker.io/nginx': 'docker.io/library/nginx:latest',
    'docker.io/a/b/c:x': 'docker.io/a/b/c:x',
    'localhost/app': 'localhost/app:latest',
    'localhost:5000/app:v1': 'localhost:5000/app:v1',
    'Uppercase.example/app': 'Uppercase.example/app:latest',
    'GHCR/app': 'GHCR/app:latest',
    'foo:5000': 'docker.io/library/foo:5000',
    'host:80/foo': 'host:80/foo:latest',
    'quay.io/a_b/c__d/e-f--g.h:V_1.2-3': 'quay.io/a_b/c__d/e-f--g.h:V_1.2-3',
    '[::1]:5000/app': '[::1]:5000/app:latest',
    '[fd00:1::2]/app:v1': '[fd00:1::2]/app:v1',
    '127.0.0.1:5000/app': '127.0.0.1:5000/app:latest',
    [`nginx@${sha256}`]: `docker.io/library/nginx@${sha256}`,
    [`nginx:1@${sha256}`]: `docker.io/library/nginx:1@${sha256}`,
    [`a.b/c@${sha512}`]: `a.b/c@${sha512}`,
    'xn--n3h.example/app': 'xn--n3h.example/app:latest',
  }
  for (const [text, full] of Object.entries(cases)) {
    test(`"${text.slice(0, 60)}"`, () => assert.equal(formatReference(parseReference(text)), full))
  }
})

describe('texts that are no references', () => {
  const cases: readonly [string, RegExp][] = [
    ['', /empty/],
    [' nginx', /white space/],
    ['nginx\n', /white space/],
    ['Nginx', /lower case/],
    ['a/B:c', /lower case/],
    ['https://ghcr.io/a', /scheme/],
    ['docker://nginx', /scheme/],
    [hex, /image ID/],
    ['nginx:', /tag/],
    ['nginx:.x', /tag/],
    [`nginx:${'x'.repeat(129)}`, /tag/],
    ['nginx:a b', /tag/],
    ['nginx@sha256:abc', /digest/],
    [`nginx@sha256:${'A'.repeat(64)}`, /digest/],
    [`nginx@md5:${hex}`, /digest/],
    [`nginx@${sha256}@${sha256}`, /digest/],
    ['a//b', /repository/],
    ['a/../b', /repository/],
    ['a/b/', /repository/],
    ['/a', /repository/],
    ['a.b/', /no repository/],
    ['a__.b/c.', /repository|host/],
    ['host:99999/a', /host/],
    ['host:0/a', /host/],
    ['-a.b/c', /host/],
    ['[::1/a', /host/],
    ['a.b/c?x=1', /repository/],
    ['a.b/c%2e', /repository/],
    ['ho\u0000st.x/a', /host/],
    [`a.b/${'x'.repeat(256)}`, /longer/],
    [`${'a.'.repeat(130)}b/c`, /host/],
  ]
  for (const [text, message] of cases) {
    test(JSON.stringify(text.slice(0, 60)), () => {
      assert.throws(
        () => parseReference(text),
        (error: unknown) => {
          assert.ok(error instanceof ImageReferenceError)
          assert.equal(error.code, 'COPY_REFERENCE_INVALID')
          assert.match(error.message, message)
          assert.ok(!error.message.includes('\u0000'))
          return true
        },
      )
    })
  }
})

test('a reference that was read reads the same again', () => {
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z0-9.:/@_-]{1,40}$/), (text) => {
      let first: string
      try {
        first = formatReference(parseReference(text))
      } catch (error) {
        assert.ok(error instanceof ImageReferenceError)
        return
      }
      assert.equal(formatReference(parseReference(first)), first)
    }),
    { numRuns: 2000 },
  )
})
