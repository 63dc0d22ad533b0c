import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { objectName } from '../../../src/state/naming.ts'

const dnsSubdomain = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/
const hashOf = (reference: string): string =>
  createHash('sha256').update(reference).digest('hex').slice(0, 32)

describe('objectName', () => {
  const cases: [string, string][] = [
    ['docker.io/library/nginx:1.27', 'nginx-1.27'],
    ['registry.k8s.io:5000/a/b/Some_App:V1_x'.toLowerCase(), 'some-app-v1-x'],
    ['ghcr.io/x/y:v1.0.0-rc.1', 'y-v1.0.0-rc.1'],
    [`quay.io/app/web@sha256:${'0123456789abcdef'.repeat(4)}`, 'web-0123456789ab'],
    [`quay.io/app/web:1@sha256:${'a'.repeat(64)}`, 'web-1'],
    ['quay.io/app/web:1.-_.2', 'web-1.2'],
    ['quay.io/app/web:_-.', 'web'],
  ]
  for (const [reference, slug] of cases) {
    it(`${reference} is ${slug}-…`, () => {
      assert.equal(objectName(reference), `${slug}-${hashOf(reference)}`)
    })
  }

  it('is always a DNS subdomain of at most 233 characters', () => {
    const part = fc.stringMatching(/^[a-z0-9]{1,60}([._-][a-z0-9]{1,60}){0,3}$/)
    const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/)
    fc.assert(
      fc.property(part, part, tag, (a, b, tag) => {
        const reference = `quay.io/${a}/${b}:${tag}`
        fc.pre(reference.length - tag.length < 255)
        const name = objectName(reference)
        assert.match(name, dnsSubdomain)
        assert.ok(name.length <= 233)
        assert.ok(name.endsWith(hashOf(reference)))
      }),
    )
  })
})
