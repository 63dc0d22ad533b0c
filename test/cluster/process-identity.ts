import { readFileSync } from 'node:fs'

/** One process of this boot, told apart from a later one that got the same number. */
export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks after boot, as /proc shows them. */
  readonly startTime: string
}

/**
 * Reads a line of `/proc/<pid>/stat`: `pid (name) state ppid …`, with the start time as field 22.
 * The name is the program's own choice and may hold spaces and parentheses, so the fields are counted after the last `)`.
 */
export function parseStat(
  line: string,
): (ProcessIdentity & { readonly state: string; readonly parent: number }) | undefined {
  const pid = Number.parseInt(line, 10)
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  const [state, parent, startTime] = [fields[0], fields[1], fields[19]]
  if (!Number.isInteger(pid) || !state || !parent || !startTime) return undefined
  return { pid, state, parent: Number(parent), startTime: startTime.trim() }
}

function stat(pid: number | 'self'): ReturnType<typeof parseStat> {
  try {
    return parseStat(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return undefined
  }
}

/** Identity of a process that runs; undefined when there is none or only its zombie, which has nothing left but an exit code. */
export function identityOf(pid: number): ProcessIdentity | undefined {
  const found = stat(pid)
  if (!found || found.state === 'Z' || found.state === 'X') return undefined
  return { pid, startTime: found.startTime }
}

/** Identity of this very process. */
export function ownIdentity(): ProcessIdentity {
  return identityOf(process.pid) ?? { pid: process.pid, startTime: '0' }
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identityOf(identity.pid)?.startTime === identity.startTime
}

/** Host process ids of the children of a process, whatever pid namespace they live in. */
export function childrenOf(pid: number): readonly number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return text.split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

/** The id of this boot of the kernel; process ids and start times of another boot mean nothing. */
export function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}
