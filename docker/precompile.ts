import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { Script } from 'node:vm'
import { runCommand } from '../test/cluster/command.ts'
import { FakeRegistry } from '../test/support/fake-registry.ts'
import { noise, sampleImage } from '../test/support/sample-images.ts'

/** Enough that kip takes the target for one that is up to date, and then for one that is being filled. */
const IMAGES_THERE = 6
const IMAGES_MISSING = 6

/**
 * Writes V8's compiled form of kip's program, with the functions that a copy of images needs: left to itself V8 compiles a
 * function when it is first called, which is much of what a short copy does, and with all functions in it the form takes twice
 * as long to read. Which ones are needed is found by copying images.
 *
 * Good for the Node that runs this, under any flags of memory.
 *
 * @param program - file whose value is a function of what a CommonJS module is given; ASCII
 * @param output - file to write
 */
export async function precompile(program: string, output: string): Promise<void> {
  await using source = await FakeRegistry.start()
  await using target = await FakeRegistry.start()
  const base = noise('base', 300_000)
  const lines: string[] = []
  for (let number = 0; number < IMAGES_THERE + IMAGES_MISSING; number += 1) {
    const image = sampleImage({ layers: [base, noise(`layer ${number}`, 50_000)] })
    const name = `image-${number}`
    await source.client.push(image, name, '1')
    if (number < IMAGES_THERE) await target.client.push(image, name, '1')
    lines.push(`${source.host}/${name}:1 ${target.host}/${name}:1\n`)
  }
  const recorder = fileURLToPath(new URL('record.cjs', import.meta.url))
  const hosts = ['--http', source.host, '--http', target.host]
  await runCommand(
    process.execPath,
    [recorder, program, output, 'copy', ...hosts, '--from-file', '-'],
    { input: lines.join(''), env: {}, timeoutMs: 60_000 },
  )
  const text = await readFile(program, 'latin1')
  const compiled = new Script(text, { filename: program, cachedData: await readFile(output) })
  if (compiled.cachedDataRejected) throw new Error(`${output}: V8 does not take it`)
}
