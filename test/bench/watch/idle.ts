import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { cp, mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { imageEnvironment } from '../../../docker/bundle.ts'
import { freePorts } from '../../cluster/ports.ts'
import { ContenderError } from '../harness/measure.ts'
import type { Measurement } from '../harness/measurement.ts'
import type { RealServer } from './real-server.ts'

/** Namespace and service account that kip runs under. */
const NAME = 'bench-idle'
/** Beyond the time after which a replica gives back what its start took. */
const SETTLE_MS = 12_000
const READY_TIMEOUT_MS = 20_000

export interface IdleOptions {
  readonly real: RealServer
  /** Node, the image's flags, and kip's bundle. */
  readonly command: readonly string[]
  readonly signal: AbortSignal
}

/**
 * Starts one replica as in a pod, with a service account in a mount namespace of its own: time until it is ready, then the
 * resident memory of all its processes when it has nothing to do.
 */
export async function idleRound({ real, command, signal }: IdleOptions): Promise<Measurement> {
  const account = await real.serviceAccount(NAME, signal)
  const folder = join(real.folder, 'account')
  await mkdir(folder, { recursive: true })
  await cp(join(real.folder, 'ca.crt'), join(folder, 'ca.crt'))
  await writeFile(join(folder, 'token'), account, { mode: 0o600 })
  await writeFile(join(folder, 'namespace'), NAME)
  const [webhook = 0, status = 0] = await freePorts(2)
  const { hostname, port } = new URL(real.url)
  const place = '/run/secrets/kubernetes.io/serviceaccount'
  const enter = `mount -t tmpfs none /run && mkdir -p ${place} && cp "$0"/* ${place} && exec "$@"`
  const settings = [
    ...[`--namespace=${NAME}`, `--port=${status}`, '--mirror.registry=127.0.0.1:9/mirror'],
    ...[`--admission.port=${webhook}`, `--admission.url=https://127.0.0.1:${webhook}/mutate`],
    `--leaderElection.name=${NAME}-${status}`,
  ]
  const shell = ['unshare', '-m', 'sh', '-c', enter, folder]
  const args = ['--pdeathsig', 'KILL', ...shell, ...command, 'run', ...settings]
  const started = performance.now()
  const child = spawn('setpriv', args, {
    stdio: 'ignore',
    env: {
      ...imageEnvironment(),
      PATH: process.env.PATH,
      ...{ KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port },
    },
  })
  try {
    while (!(await isReady(status))) {
      signal.throwIfAborted()
      if (child.exitCode !== null || performance.now() - started > READY_TIMEOUT_MS)
        throw new ContenderError('kip: it was not ready')
      await sleep(10, undefined, { signal })
    }
    const wallMs = performance.now() - started
    await sleep(SETTLE_MS, undefined, { signal })
    return { wallMs, rssMib: await rssOf(child.pid ?? 0) }
  } finally {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'exit')
      child.kill('SIGKILL')
      await ended
    }
  }
}

async function isReady(port: number): Promise<boolean> {
  try {
    return (await fetch(`http://127.0.0.1:${port}/readyz`)).ok
  } catch {
    return false
  }
}

/** Of a process and its children. */
async function rssOf(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const children = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8')
  const own = Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1]) / 1024
  const others = await Promise.all(children.split(' ').filter(Boolean).map(Number).map(rssOf))
  return others.reduce((sum, mib) => sum + mib, own)
}
