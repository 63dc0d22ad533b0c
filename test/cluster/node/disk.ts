import { rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { runCommand } from '../command.ts'

/** The disk's own file, below a node's folder; `surroundings.sh` mounts it below what containerd and the kubelet keep. */
const DISK = 'disk'
/** A place on it, on the node. */
export const DISK_FOLDER = '/var/lib/containerd'

const MIB = 2 ** 20

/**
 * Makes an empty file system in a file of a node's folder; one of that size is left as it is.
 *
 * @param sizeMib - undefined: there is to be none
 */
export async function prepareDisk(
  folder: string,
  sizeMib: number | undefined,
  options: { readonly signal?: AbortSignal },
): Promise<void> {
  const file = join(folder, DISK)
  const found = await stat(file).catch(() => undefined)
  if (found?.size === (sizeMib ?? 0) * MIB) return
  await rm(file, { force: true })
  if (sizeMib === undefined) return
  await runCommand('truncate', [`--size=${sizeMib}M`, file], options)
  // All of it may be filled, and what is never written takes no room on the machine.
  await runCommand('mkfs.ext4', ['-q', '-m', '0', '-E', 'lazy_itable_init=1', file], options)
}

/** How much there is of a node's disk, and how much of that is free. */
export interface DiskUse {
  readonly sizeMib: number
  readonly freeMib: number
}

/** Reads what `df` prints with `--output=size,avail --block-size=1`. */
export function parseDiskUse(text: string): DiskUse {
  const [size = 0, free = 0] = (text.trim().split('\n').at(-1) ?? '')
    .trim()
    .split(/\s+/)
    .map(Number)
  return { sizeMib: size / MIB, freeMib: free / MIB }
}
