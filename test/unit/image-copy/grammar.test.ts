/** What the reference library of distribution, which containerd and the kubelet use, takes and refuses; facts of its tests. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  formatReference,
  ImageReferenceError,
  parseReference,
} from '../../../src/image-copy/src/index.ts'

const sha256 = `sha256:${'f'.repeat(64)}`
const sha512 = `sha512:${'f'.repeat(128)}`
const hex = '1a3f5e7d9c1b3a5f7e9d1c3b5a7f9e1d3c5b7a9f1e3d5d7c9b1a3f5e7d9c1b3a'
const song = 'thisisthesongthatneverendsitgoesonandonandonthisisthesongthatnev'

/** Texts and what they mean; a tag of `latest` is what containerd adds where there is neither tag nor digest. */
const meanings: readonly (readonly [string, string])[] = [
  ['test_com', 'docker.io/library/test_com:latest'],
  ['test.com:tag', 'docker.io/library/test.com:tag'],
  ['test.com:5000', 'docker.io/library/test.com:5000'],
  ['test.com/repo:tag', 'test.com/repo:tag'],
  ['test:5000/repo', 'test:5000/repo:latest'],
  ['test:5000/repo:tag', 'test:5000/repo:tag'],
  [`test:5000/repo@${sha256}`, `test:5000/repo@${sha256}`],
  [`test:5000/repo:tag@${sha256}`, `test:5000/repo:tag@${sha256}`],
  ['lowercase:Uppercase', 'docker.io/library/lowercase:Uppercase'],
  ['sub-dom1.foo.com/bar/baz/quux', 'sub-dom1.foo.com/bar/baz/quux:latest'],
  ['sub-dom1.foo.com/bar/baz/quux:some-long-tag', 'sub-dom1.foo.com/bar/baz/quux:some-long-tag'],
  [
    'b.gcr.io/test.example.com/my-app:test.example.com',
    'b.gcr.io/test.example.com/my-app:test.example.com',
  ],
  ['xn--n3h.com/myimage:xn--n3h.com', 'xn--n3h.com/myimage:xn--n3h.com'],
  [`xn--7o8h.com/myimage:xn--7o8h.com@${sha512}`, `xn--7o8h.com/myimage:xn--7o8h.com@${sha512}`],
  ['foo_bar.com:8080', 'docker.io/library/foo_bar.com:8080'],
  ['foo/foo_bar.com:8080', 'docker.io/foo/foo_bar.com:8080'],
  ['192.168.1.1', 'docker.io/library/192.168.1.1:latest'],
  ['192.168.1.1:tag', 'docker.io/library/192.168.1.1:tag'],
  ['192.168.1.1:5000', 'docker.io/library/192.168.1.1:5000'],
  ['192.168.1.1/repo', '192.168.1.1/repo:latest'],
  ['192.168.1.1:5000/repo', '192.168.1.1:5000/repo:latest'],
  ['192.168.1.1:5000/repo:5050', '192.168.1.1:5000/repo:5050'],
  ['192.168.0.1:8/debian', '192.168.0.1:8/debian:latest'],
  ['[2001:db8::1]/repo', '[2001:db8::1]/repo:latest'],
  ['[2001:db8:1:2:3:4:5:6]/repo:tag', '[2001:db8:1:2:3:4:5:6]/repo:tag'],
  ['[2001:db8::1]:5000/repo', '[2001:db8::1]:5000/repo:latest'],
  ['[2001:db8::1]:5000/repo:tag', '[2001:db8::1]:5000/repo:tag'],
  [`[2001:db8::1]:5000/repo@${sha256}`, `[2001:db8::1]:5000/repo@${sha256}`],
  [`[2001:db8::1]:5000/repo:tag@${sha256}`, `[2001:db8::1]:5000/repo:tag@${sha256}`],
  ['[2001:db8::]:5000/repo', '[2001:db8::]:5000/repo:latest'],
  ['[::1]:5000/repo', '[::1]:5000/repo:latest'],
  ['[fc00:1:2:3:4:5:6:7]:5000/library/debian', '[fc00:1:2:3:4:5:6:7]:5000/library/debian:latest'],
  ['debian', 'docker.io/library/debian:latest'],
  ['docker/docker', 'docker.io/docker/docker:latest'],
  ['library/debian', 'docker.io/library/debian:latest'],
  ['docker.io/debian', 'docker.io/library/debian:latest'],
  ['docker.io/docker/docker', 'docker.io/docker/docker:latest'],
  ['index.docker.io/debian', 'docker.io/library/debian:latest'],
  ['index.docker.io/library/debian', 'docker.io/library/debian:latest'],
  ['index.docker.io/docker/docker', 'docker.io/docker/docker:latest'],
  ['docker.io/library/foo/bar', 'docker.io/library/foo/bar:latest'],
  ['library/foo/bar', 'docker.io/library/foo/bar:latest'],
  ['store/foo/bar', 'docker.io/store/foo/bar:latest'],
  ['127.0.0.1:8000/private/moonbase', '127.0.0.1:8000/private/moonbase:latest'],
  [song, `docker.io/library/${song}:latest`],
  [`docker.io/${hex}`, `docker.io/library/${hex}:latest`],
  [hex.slice(1), `docker.io/library/${hex.slice(1)}:latest`],
  ['Docker/docker', 'Docker/docker:latest'],
  ['DOCKER/docker', 'DOCKER/docker:latest'],
  ['Foo/bar', 'Foo/bar:latest'],
  ['docker---rules/docker', 'docker.io/docker---rules/docker:latest'],
  ['dock__er/docker', 'docker.io/dock__er/docker:latest'],
  ['d/docker', 'docker.io/d/docker:latest'],
  ['jess/t', 'docker.io/jess/t:latest'],
  ['test_com/foo', 'docker.io/test_com/foo:latest'],
  ['test-com:8080/foo', 'test-com:8080/foo:latest'],
  ['xn--n3h.com:18080/foo', 'xn--n3h.com:18080/foo:latest'],
  [`busybox:latest@${sha256}`, `docker.io/library/busybox:latest@${sha256}`],
]

const refused: readonly string[] = [
  '',
  ':justtag',
  `@${sha256}`,
  'repo@sha256:ffffffffffffffffffffffffffffffffff',
  `validname@invaliddigest:${'f'.repeat(64)}`,
  'Uppercase:tag',
  'test:5000/Uppercase/lowercase:tag',
  `${'a/'.repeat(128)}a:tag`,
  'aa/asdf$$^/aa',
  '[2001:db8::1]',
  '[2001:db8::1]:5000',
  '[2001:db8::1]:tag',
  '[fe80::1%eth0]:5000/repo',
  '[fe80::1%@invalidzone]:5000/repo',
  'https://github.com/docker/docker',
  'docker/Docker',
  '-docker',
  '-docker/docker',
  '-docker.io/docker/docker',
  'docker///docker',
  'docker.io/docker/Docker',
  'docker.io/docker///docker',
  '[fc00::1]',
  'fc00::1:5000/debian',
  '[2001:db8:3:4::192.0.2.33]:5000/debian',
  hex,
  'docker-/docker',
  '-docker-/docker',
  '____/____',
  '_docker/_docker',
  'dock..er/docker',
  'dock_.er/docker',
  'dock-.er/docker',
  'docker/',
  `${'this_is_not_a_valid_namespace_'.repeat(9)}/docker`,
  'busybox:-foo',
  'busybox@foo',
]

describe('the grammar of references', () => {
  for (const [text, meaning] of meanings) {
    test(`${text.slice(0, 70)} means ${meaning.slice(0, 90)}`, () => {
      assert.equal(formatReference(parseReference(text)), meaning)
    })
  }
  for (const text of refused) {
    test(`${JSON.stringify(text.slice(0, 70))} is refused`, () => {
      assert.throws(() => parseReference(text), ImageReferenceError)
    })
  }
  test('the longest name that is taken', () => {
    // 255 characters of path alone: the host does not count, and the `library/` that is left out in writing does.
    const name = `a.b/${'c'.repeat(255)}`
    assert.equal(formatReference(parseReference(`${name}:tag`)), `${name}:tag`)
    assert.throws(() => parseReference(`${name}c:tag`), ImageReferenceError)
    const short = 'd'.repeat(247)
    assert.equal(formatReference(parseReference(`${short}:tag`)), `docker.io/library/${short}:tag`)
    assert.throws(() => parseReference(`${short}d:tag`), ImageReferenceError)
  })
})
