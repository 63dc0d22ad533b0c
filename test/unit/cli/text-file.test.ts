import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { after, before, describe, it } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { MAX_TEXT_BYTES, readText, readTextFile } from '../../../src/text-file.ts'

/** Three bytes each, so that reads of any power of two cut one. */
const text = '\u20ac'.repeat(100_000)

describe('a text', () => {
  let folder: string
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'kip-text-'))
  })
  after(() => rm(folder, { recursive: true, force: true }))

  it('is read whole, whatever its length', async () => {
    const file = join(folder, 'text')
    for (const content of ['', 'a', text]) {
      await writeFile(file, content)
      assert.equal(readTextFile(file), content)
    }
  })

  it('comes out of files that tell no size', () => {
    assert.match(readTextFile('/proc/self/status'), /^Name:/)
  })

  it('comes whole out of a pipe that brings it in pieces', async () => {
    const pipe = join(folder, 'pipe')
    const script =
      'mkfifo "$0"; { seq 20000; seq 3 | while read -r line; do echo "$line"; done; } > "$0"'
    const child = spawn('sh', ['-c', script, pipe], { stdio: 'inherit' })
    while (!existsSync(pipe)) await setTimeout(1)
    const numbers = (count: number): string =>
      Array.from({ length: count }, (_, i) => `${i + 1}\n`).join('')
    assert.equal(readTextFile(pipe), numbers(20_000) + numbers(3))
    await once(child, 'close')
  })

  it('that never ends is told from one', async () => {
    assert.throws(() => readTextFile('/dev/zero'), /RangeError: more than 64 MiB/)
    const part = Buffer.alloc(2 ** 20)
    let given = 0
    const endless = Readable.from(
      (function* () {
        for (;;) {
          given += part.length
          yield part
        }
      })(),
    )
    await assert.rejects(readText(endless), /more than 64 MiB/)
    assert.ok(endless.destroyed)
    assert.ok(given < 2 * MAX_TEXT_BYTES)
  })

  it('comes whole out of a stream that cuts its characters', async () => {
    const bytes = Buffer.from(text)
    const parts = [bytes.subarray(0, 4), bytes.subarray(4, 70_001), bytes.subarray(70_001)]
    assert.equal(await readText(Readable.from(parts)), text)
  })

  it('that is not there is told by its path', () => {
    assert.throws(() => readTextFile(join(folder, 'none')), /ENOENT.*none/)
    assert.throws(() => readTextFile(folder), /EISDIR/)
  })
})
