/** `npm run cluster -- COMMAND`: test clusters by hand. */
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Cluster } from './cluster.ts'
import { ClusterError } from './errors.ts'
import { attachCluster, downCluster, removeLeftovers, upCluster } from './lifecycle.ts'
import { parseNodeSettings } from './node/settings.ts'
import { missingForNodes } from './prerequisites.ts'
import { Daemons } from './process.ts'
import { reportToStderr as report } from './progress.ts'
import { clusterFolder, clusterNames, readState } from './state.ts'
import { stopOnce } from './stop-once.ts'

const USAGE = `usage: npm run cluster -- COMMAND [--name NAME]

  up [--nodes N]      bring a cluster up (default 2 nodes; 0: control plane alone, without root)
     [--settings JSON]  of its nodes: {"diskMib":2048,"downloads":30,"kubelet":{"maxParallelImagePulls":6,…}}
  down                take it down, with all that it left
  status              what there is, and what of it runs
  kubectl ARGUMENT…   the cluster's own kubectl, as administrator
  env                 lines for a shell: eval "$(npm run --silent cluster -- env)"
  node NAME JSON      start a node anew with such settings ({}: as usual)
  fill NAME [MIB]     fill its disk until so much is free; without MIB: empty it of that again
  exec -- COMMAND…    run a command where the registries' names resolve

Kubernetes is another minor with KIP_KUBE_VERSION.`

async function main(): Promise<number> {
  const [command = '', ...rest] = process.argv.slice(2)
  const separator = rest.indexOf('--')
  const passed = command === 'kubectl' ? afterName(rest) : rest.slice(separator + 1)
  const own =
    command === 'kubectl'
      ? rest.slice(0, rest.length - passed.length)
      : separator < 0
        ? rest
        : rest.slice(0, separator)
  const { values, positionals } = parseArgs({
    args: [...own],
    allowPositionals: command === 'node' || command === 'fill',
    options: {
      name: { type: 'string', default: 'kip' },
      nodes: { type: 'string' },
      settings: { type: 'string' },
    },
  })
  const { name } = values
  const [node = '', value] = positionals
  switch (command) {
    case 'up':
      return await up(name, values)
    case 'down': {
      await removeLeftovers({ report })
      if (!(await downCluster(name, { report }))) report(`there is no cluster ${name}`)
      return 0
    }
    case 'status':
      return await status()
    case 'kubectl':
      return await withCluster(name, (cluster) =>
        runHere([
          join(cluster.state.programs.kubernetes, 'kubectl'),
          `--kubeconfig=${cluster.kubeconfig}`,
          ...passed,
        ]),
      )
    case 'env':
      return await withCluster(name, async ({ kubeconfig, state }) => {
        console.log(`export KUBECONFIG='${kubeconfig}'`)
        console.log(`export PATH='${state.programs.kubernetes}':"$PATH"`)
        return 0
      })
    case 'node':
      return await withCluster(name, async (cluster) => {
        await cluster.configureNode(node, parseNodeSettings(value ?? ''))
        return 0
      })
    case 'fill':
      return await withCluster(name, async (cluster) => {
        if (value !== undefined && !/^\d{1,7}$/.test(value))
          throw new ClusterError('KIP_CLUSTER_USAGE', `fill ${node} ${value}: a number of MiB`)
        await cluster.fillDisk(node, value === undefined ? undefined : Number(value))
        const { freeMib, sizeMib } = await cluster.disk(node)
        report(`${node}: ${Math.floor(freeMib)} of ${Math.floor(sizeMib)} MiB are free`)
        return 0
      })
    case 'exec':
      if (separator < 0 || passed.length === 0) break
      return await withCluster(name, (cluster) =>
        runHere(cluster.enter(passed, process.cwd()), cluster.environment),
      )
  }
  console.error(USAGE)
  return command === 'help' || command === '--help' ? 0 : 2
}

/** As many as a test of kip needs: an image on one node is not on the other. */
const DEFAULT_NODES = 2

async function up(
  name: string,
  { nodes: wanted, settings }: { readonly nodes?: string; readonly settings?: string },
): Promise<number> {
  const nodeSettings = settings === undefined ? undefined : parseNodeSettings(settings)
  if (wanted !== undefined && !/^\d{1,2}$/.test(wanted))
    throw new ClusterError('KIP_CLUSTER_USAGE', `--nodes ${wanted}: a number from 0 to 99`)
  const missing = wanted === undefined ? missingForNodes() : undefined
  if (missing) report(`nodes need ${missing}: starting the control plane alone, as --nodes 0 does`)
  const nodes = missing ? 0 : Number(wanted ?? DEFAULT_NODES)
  const signal = stopOnce()
  const started = performance.now()
  await using cluster = await upCluster({
    ...{ name, nodes, report, signal },
    ...(nodeSettings && { nodeSettings }),
  }).catch((error) => {
    // Whatever an interrupted step says of itself, this is why.
    signal.throwIfAborted()
    throw error
  })
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  const named = cluster.nodes.map((node) => node.name).join(', ') || 'no nodes'
  report(`cluster ${name} is up after ${seconds} s: ${named}`)
  report(`  npm run cluster -- kubectl ${name === 'kip' ? '' : `--name ${name} `}get nodes`)
  return 0
}

async function status(): Promise<number> {
  await removeLeftovers({ report })
  const states = clusterNames().flatMap((name) => readState(name) ?? [])
  for (const { name, phase, kubernetes, nodes, addresses } of states) {
    const folder = clusterFolder(name)
    const daemons = new Daemons({ folder })
    console.log(
      `${name}: ${phase}, Kubernetes ${kubernetes}, ${nodes.length} nodes, ${addresses.range}`,
    )
    for (const daemon of daemons.names())
      console.log(`  ${daemons.isRunning(daemon) ? 'runs ' : 'ended'}  ${daemon}`)
    console.log(`  logs in ${join(folder, 'logs')}`)
  }
  if (states.length === 0) console.log('there is no cluster')
  return 0
}

async function withCluster(
  name: string,
  work: (cluster: Cluster) => Promise<number>,
): Promise<number> {
  if (readState(name)?.phase === 'starting') report(`cluster ${name} is still starting`)
  await using cluster = await attachCluster(name, { report })
  return await work(cluster)
}

/** `--name NAME` may stand before kubectl's own arguments, which are its own affair. */
function afterName(args: readonly string[]): readonly string[] {
  if (args[0] === '--name') return args.slice(2)
  return args[0]?.startsWith('--name=') ? args.slice(1) : args
}

/** Runs a command on this terminal. @returns its exit code */
async function runHere(
  [program = '', ...args]: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<number> {
  const child = spawn(program, args, {
    stdio: 'inherit',
    env: { ...process.env, ...environment },
  })
  // Ctrl-C reaches the child by the terminal; this process waits for what it makes of it.
  for (const signal of ['SIGINT', 'SIGQUIT'] as const) process.on(signal, () => undefined)
  return await new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', (code) => resolve(code ?? 128))
  })
}

process.exitCode = await main().catch((error: unknown) => {
  const misspelt = error instanceof TypeError && 'code' in error
  if (misspelt) console.error(`${error.message}\n${USAGE}`)
  else console.error(error instanceof ClusterError ? error.message : error)
  return misspelt || (error instanceof ClusterError && error.code === 'KIP_CLUSTER_USAGE') ? 2 : 1
})
