import { spawn } from 'node:child_process'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The tool of test clusters, with a state folder that no other test looks into. */
export interface ClusterTool {
  /** `$XDG_STATE_HOME` of its clusters. */
  readonly home: string
  start(args: readonly string[], env?: Readonly<Record<string, string>>): ToolRun
  /** Folder of a cluster, whether there is one or not. */
  folder(name: string): string
  remove(): Promise<void>
}

export interface ToolRun {
  readonly pid: number
  kill(signal: NodeJS.Signals): void
  /** What it came to, when it is at an end. */
  readonly ended: Promise<{
    readonly code: number | null
    readonly stdout: string
    readonly stderr: string
  }>
}

export async function clusterTool(): Promise<ClusterTool> {
  const home = await mkdtemp(join(tmpdir(), 'kip-clusters-'))
  const main = fileURLToPath(new URL('../cluster/main.ts', import.meta.url))
  return {
    home,
    folder: (name) => join(home, 'kip', 'clusters', name),
    remove: () => rm(home, { recursive: true, force: true }),
    start(args, env = {}) {
      const child = spawn(process.execPath, [main, ...args], {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { ...process.env, XDG_STATE_HOME: home, ...env },
      })
      const output = { stdout: '', stderr: '' }
      for (const name of ['stdout', 'stderr'] as const)
        child[name].setEncoding('utf8').on('data', (text: string) => {
          output[name] += text
        })
      const { promise, resolve, reject } = Promise.withResolvers<Awaited<ToolRun['ended']>>()
      child.on('error', reject)
      child.on('close', (code) => resolve({ code, ...output }))
      return { pid: child.pid ?? 0, kill: (signal) => child.kill(signal), ended: promise }
    },
  }
}

/** Whether a cluster that is coming up has this process on record. */
export function hasStarted(folder: string, name: string): boolean {
  return read(join(folder, 'processes', name)) !== ''
}

/** What a cluster can leave on a machine; taken while it runs, to be looked for when it is down. */
export interface Traces {
  readonly folder: string
  /** `pid start-time` of each recorded process. */
  readonly processes: readonly string[]
  /** Names of its network namespaces: `net:[4026532198]`. */
  readonly networks: readonly string[]
  /** Part of the names of its cgroups. */
  readonly id: string
}

export function tracesOf(folder: string): Traces {
  const records = join(folder, 'processes')
  const lines = readdirSync(records).flatMap((name) =>
    readFileSync(join(records, name), 'utf8').split('\n'),
  )
  // A record is empty until its process has written itself into it.
  const processes = lines.filter((line) => line !== '').map(startedProcess)
  const own = networkOf('self')
  const networks = processes
    .flatMap((process) => networkOf(process.split(' ')[0] ?? '') ?? [])
    .filter((network) => network !== own)
  const { id } = JSON.parse(readFileSync(join(folder, 'cluster.json'), 'utf8'))
  return { folder, processes, networks: [...new Set(networks)], id }
}

/** Which traces are still there, in words; empty: none. */
export function remainsOf({ folder, processes, networks, id }: Traces): readonly string[] {
  const pids = readdirSync('/proc').filter((name) => /^\d+$/.test(name))
  const alive = processes.filter((process) => {
    const [pid = ''] = process.split(' ')
    const line = read(`/proc/${pid}/stat`)
    return startedProcess(line) === process && !/\) [ZX] /.test(line)
  })
  const inside = pids.filter((pid) => networks.includes(networkOf(pid) ?? ''))
  const mounts = read('/proc/self/mountinfo')
    .split('\n')
    .filter((line) => line.includes(folder))
  const cgroups = readdirSync('/sys/fs/cgroup', { recursive: true, encoding: 'utf8' }).filter(
    (path) => path.includes(`kip-${id}`),
  )
  return [
    ...alive.map((process) => `process ${process}`),
    ...inside.map((pid) => `process ${pid} in its namespaces`),
    ...mounts.map((line) => `mount ${line}`),
    ...cgroups.map((path) => `cgroup ${path}`),
    ...(read(join(folder, 'cluster.json')) ? [`folder ${folder}`] : []),
  ]
}

function startedProcess(stat: string): string {
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return `${Number.parseInt(stat, 10)} ${fields[19]}`
}

function networkOf(pid: string): string | undefined {
  try {
    return readlinkSync(`/proc/${pid}/ns/net`)
  } catch {
    return undefined
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
