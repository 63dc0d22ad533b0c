import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { StringTable } from '../../../src/kube/string-table.ts'
import { compactUid, compactUidOf, uidText } from '../../../src/kube/uid.ts'

test('a uid comes back as it was, whatever it looks like, and a UUID takes half the room', () => {
  const uids = fc.oneof(
    fc.uuid(),
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.string({ minLength: 16, maxLength: 16 }),
    fc.string({ minLength: 36, maxLength: 36 }),
    fc.uuid().map((text) => text.toUpperCase()),
    fc.string({ maxLength: 17 }).map((text) => `=${text}`),
  )
  fc.assert(
    fc.property(uids, uids, (one, other) => {
      assert.equal(uidText(compactUid(one)), one)
      assert.equal(compactUid(one) === compactUid(other), one === other)
      const bytes = Buffer.from(`<${one}>`)
      assert.equal(compactUidOf(bytes, 1, bytes.length - 1), compactUid(one))
    }),
  )
  assert.equal(compactUid('0d9e1d0e-5a0f-4d6f-9b67-0a4d9f1f3a55').length, 16)
})

test('a table of strings reads what stands there, however often', () => {
  const table = new StringTable()
  const texts = fc.array(fc.string({ unit: 'binary', maxLength: 300 }), { maxLength: 20 })
  fc.assert(
    fc.property(texts, (all) => {
      for (const text of [...all, ...all]) {
        const bytes = Buffer.from(`"${text}"`)
        assert.equal(table.read(bytes, 1, bytes.length - 1), text)
      }
    }),
  )
})
