import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Remembered } from '../../../src/image-copy/src/remembered.ts'

const head = { digest: undefined, mediaType: '', size: 1 }

test('of too many tags the first that were seen are forgotten, and one seen again is not the first', () => {
  const tags = new Remembered<typeof head>()
  for (let number = 0; number < 4096; number += 1) tags.set(`a/b:${number}`, head)
  tags.set('a/b:0', head)
  tags.set('a/b:more', head)
  assert.deepEqual(
    [tags.get('a/b:0'), tags.get('a/b:1'), tags.get('a/b:2')],
    [head, undefined, head],
  )
})

test('a tag that cannot be asked for again is forgotten', () => {
  const tags = new Remembered<typeof head>()
  tags.set('a/b:1', head)
  tags.set('a/b:1', undefined)
  assert.equal(tags.get('a/b:1'), undefined)
})
