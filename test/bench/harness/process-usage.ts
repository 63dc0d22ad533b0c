import { readFile } from 'node:fs/promises'

/** Of the kernel's clock that times of processes are told in. */
const TICK_MS = 10

/** What the kernel charged to a process so far, and its memory now and at most. */
export async function usageOf(
  process: number,
): Promise<{ readonly cpuMs: number; readonly rssMib: number; readonly peakMib: number }> {
  const [stat, status] = await Promise.all(
    ['stat', 'status'].map((file) => readFile(`/proc/${process}/${file}`, 'utf8')),
  )
  // Behind the name, which may hold anything: user and system time are the 12th and 13th field.
  const fields = (stat ?? '').slice((stat ?? '').lastIndexOf(')') + 2).split(' ')
  const mib = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(status ?? '')?.[1]) / 1024
  return {
    cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
    rssMib: mib('VmRSS'),
    peakMib: mib('VmHWM'),
  }
}
