import {
  closeSync,
  existsSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { dirname } from 'node:path'

/**
 * Writes a file anew, all of it or nothing: whoever reads it meanwhile, and after a crash, has the one or the other.
 *
 * @param path its name; a link of that name is replaced, and not followed
 * @param mode permissions, less those that the umask takes away
 * @throws Error of the system's call that failed, or when the name is a device's or a pipe's; then the file is as it was
 */
export function replaceFile(path: string, text: string, mode: number): void {
  // In place of /dev/null, root would leave a file.
  const there = statSync(path, { throwIfNoEntry: false })
  if (there !== undefined && !there.isFile() && !there.isDirectory())
    throw new Error(`${path} is a device or a pipe: give a file`)
  // In a container each process may have the same number. No reader of a directory takes this ending for its own.
  const beside = `${path}.${process.pid}-${Date.now()}.tmp`
  const file = openSync(beside, 'wx', mode)
  try {
    try {
      writeFileSync(file, text)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(beside, path)
  } catch (error) {
    rmSync(beside, { force: true })
    throw error
  }
  syncDirectory(dirname(path))
}

/** Why a file can never be written under a name, to tell it before the work that it is to be written after. */
export function faultOfNewFile(path: string): string | undefined {
  const folder = dirname(path)
  return existsSync(folder) ? undefined : `there is no directory ${folder} that can be reached`
}

/** The new name is in the directory, which not every file system lets be opened. */
function syncDirectory(path: string): void {
  let directory: number | undefined
  try {
    directory = openSync(path, 'r')
    fsyncSync(directory)
  } catch {
    // The file is there; only a crash of the machine could still bring back the one before.
  } finally {
    if (directory !== undefined) closeSync(directory)
  }
}
