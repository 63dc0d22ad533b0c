import { readFile, writeFile } from 'node:fs/promises'
import { setFlagsFromString } from 'node:v8'
import { Script } from 'node:vm'

/**
 * Writes V8's compiled form of a program, with all of its functions: left to itself V8 compiles a function when it is first
 * called, which is most of what a short copy does.
 *
 * Good for the Node that runs this, under any flags of memory.
 *
 * @param source - file whose value is a function of what a CommonJS module is given; ASCII
 * @param output - file to write
 */
export async function precompile(source: string, output: string): Promise<void> {
  const text = await readFile(source, 'latin1')
  setFlagsFromString('--no-lazy')
  try {
    const script = new Script(text, { filename: source })
    // The flags at this moment are those that it will be good for.
    setFlagsFromString('--lazy')
    await writeFile(output, script.createCachedData())
  } finally {
    setFlagsFromString('--lazy')
  }
}
