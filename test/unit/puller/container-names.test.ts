import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { containerName } from '../../../src/puller/container-names.ts'

const none: ReadonlySet<string> = new Set()

describe('containerName', () => {
  it('takes a given name that is a label', () => {
    assert.equal(containerName('r.test/a:1', 'che-code', none), 'che-code')
  })

  it('shows the image when no name was given', () => {
    assert.match(
      containerName('docker.io/library/nginx:1.27', undefined, none),
      /^nginx-1-27-[0-9a-f]{8}$/,
    )
    assert.match(
      containerName(`r.test:5000/a/b@sha256:${'0123456789abcdef'.repeat(4)}`, undefined, none),
      /^b-0123456789-[0-9a-f]{8}$/,
    )
  })

  const odd: readonly (readonly [given: string, head: string])[] = [
    ['Che_Code', 'che-code-'],
    ['-x-', 'x-'],
    ['héé', 'h-'],
    ['...', ''],
    ['copy-sleep', 'copy-sleep-'],
    ['holder', 'holder-'],
    ['x'.repeat(80), 'x'.repeat(54)],
  ]
  for (const [given, head] of odd) {
    it(`makes a label of ${given}`, () => {
      const name = containerName('r.test/a:1', given, none)
      assert.ok(name.startsWith(head), name)
      assert.match(name, /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/)
    })
  }

  it('keeps a name apart from those in the pod', () => {
    const taken = new Set(['web'])
    assert.match(containerName('r.test/a:1', 'web', taken), /^web-[0-9a-f]{8}$/)
  })

  it('finds a name however many of those that an image would have are taken', () => {
    const taken = new Set<string>()
    for (let count = 0; count < 20; count++) {
      const name = containerName('r.test/web:1', undefined, taken)
      assert.match(name, /^web-1-[0-9a-f]{8}([0-9a-f]*|-[0-9]+)$/)
      assert.ok(name.length <= 63 && !taken.has(name), name)
      taken.add(name)
    }
  })

  it('gives any set of names and references distinct labels', () => {
    const item = fc.tuple(fc.string({ maxLength: 90 }), fc.option(fc.string({ maxLength: 90 })))
    fc.assert(
      fc.property(fc.array(item, { maxLength: 30 }), (items) => {
        const taken = new Set<string>()
        for (const [reference, given] of new Map(items)) {
          const name = containerName(reference, given ?? undefined, taken)
          assert.match(name, /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/)
          assert.ok(!taken.has(name))
          taken.add(name)
        }
      }),
    )
  })
})
