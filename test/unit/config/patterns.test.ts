import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseReference } from '@containers/image-copy'
import fc from 'fast-check'
import {
  backupPattern,
  hostPattern,
  imageGlob,
  imageReference,
  quantity,
} from '../../../src/config/patterns.ts'

const matches = (pattern: string, text: string): boolean => new RegExp(pattern, 'u').test(text)

function isParsed(text: string): boolean {
  try {
    parseReference(text)
    return true
  } catch {
    return false
  }
}

describe('imageReference', () => {
  it('takes what image-copy parses, and nothing else', () => {
    const part = fc.oneof(
      fc.constantFrom(
        'nginx',
        'quay.io',
        'localhost',
        'Host',
        'a.b:5000',
        '[::1]:5',
        'a__b',
        'x--y',
      ),
      fc.constantFrom('', '.', '-a', 'a_', 'Up', 'a b', 'a'.repeat(64), '0'.repeat(64)),
      fc.stringMatching(/^[a-zA-Z0-9._:-]{0,8}$/),
    )
    const digest = fc.constantFrom(
      '',
      `@sha256:${'0'.repeat(64)}`,
      `@sha512:${'a'.repeat(128)}`,
      '@sha256:00',
      `@sha256:${'A'.repeat(64)}`,
      `@md5:${'0'.repeat(32)}`,
    )
    const tag = fc.oneof(fc.constantFrom('', ':', ':1', ':-1', `:${'x'.repeat(129)}`))
    const text = fc
      .tuple(fc.array(part, { maxLength: 3 }), tag, digest)
      .map(([parts, ...rest]) => [parts.join('/'), ...rest].join(''))
    fc.assert(
      fc.property(text, (reference) => {
        assert.equal(matches(imageReference, reference), isParsed(reference), reference)
      }),
      { numRuns: 2000 },
    )
  })
})

describe('hosts and backups', () => {
  it('need a dot, a port or localhost, so that no Docker Hub name is taken for a host', () => {
    for (const host of [
      'quay.io',
      'localhost',
      'localhost:5000',
      'backup:5000',
      '[::1]:5000',
      '10.0.0.1',
    ]) {
      assert.ok(matches(hostPattern, host), host)
      assert.ok(matches(backupPattern, `${host}/a/b-c`), host)
    }
    for (const text of [
      'backup',
      'https://quay.io',
      'quay.io/',
      'Quay.io',
      'me@quay.io',
      '*.io',
      'a b.c',
    ]) {
      assert.ok(!matches(hostPattern, text), text)
      assert.ok(!matches(backupPattern, text), text)
    }
    assert.ok(matches(backupPattern, ''))
    for (const text of ['quay.io/a:b', 'quay.io/A', 'quay.io//a', 'quay.io/a/']) {
      assert.ok(!matches(backupPattern, text), text)
    }
  })
})

describe('quantity', () => {
  it('takes the forms of Kubernetes, without sign', () => {
    for (const text of ['', '0', '.05', '50m', '1.5Gi', '1e3', '1E', '2.']) {
      assert.ok(matches(quantity, text), text)
    }
    for (const text of ['.', '-1', '1 Mi', '1mb', '1KI', 'x', '1Mii']) {
      assert.ok(!matches(quantity, text), text)
    }
  })
})

describe('imageGlob', () => {
  it('wants a host or a wildcard in front, as normalised references have a host there', () => {
    const good = [
      '**',
      '**:latest',
      '*/library/*',
      'docker.io/library/nginx',
      'docker.io/**',
      'localhost/a',
      'host:5000/a:1',
      `a.test/b@sha256:${'a'.repeat(64)}`,
      '[::1]:5000/*',
    ]
    const bad = ['', 'nginx', 'nginx:1.2', 'library/nginx', 'library/*', 'a.test/b c', 'a.test/(b)']
    assert.deepEqual(
      [...good, ...bad].filter((text) => matches(imageGlob, text)),
      good,
    )
  })
})
