// Starts a script of this repository on a fresh machine, with nothing installed but Node 20 and npm:
//   node start.mjs test/run.ts [arguments]
// Installs the locked packages when the lock changed since the last time, then hands over to the Node that the lock pins.
// Plain JavaScript without dependencies on purpose: it runs before there are any.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = dirname(fileURLToPath(import.meta.url))
const modules = join(root, 'node_modules')
const stamp = join(modules, '.kip-lock')
const [script, ...args] = process.argv.slice(2)

function fail(message) {
  console.error(`kip: ${message}`)
  process.exit(1)
}

function installed() {
  return existsSync(stamp) ? readFileSync(stamp, 'utf8') : ''
}

function install() {
  const lock = createHash('sha256')
    .update(readFileSync(join(root, 'package-lock.json')))
    .digest('hex')
  if (installed() === lock) return
  console.error('kip: installing the locked packages (npm ci) …')
  const started = Date.now()
  const result = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: root,
    stdio: ['ignore', 2, 2],
  })
  if (result.error) fail(`npm cannot be started: ${result.error.message}. Install npm 11.`)
  if (result.status !== 0) fail(`npm ci failed with exit code ${result.status}; see above.`)
  writeFileSync(stamp, lock)
  console.error(`kip: packages installed in ${Math.round((Date.now() - started) / 1000)} s`)
}

/** The pinned Node comes as an optional package of the platform; npm leaves it out in silence where it cannot. */
function pinnedNode() {
  const name = `node-${process.platform}-${process.arch}`
  const pinned = join(modules, name, 'bin', 'node')
  if (existsSync(pinned)) return pinned
  if (Number(process.versions.node.split('.')[0]) >= 24) return process.execPath
  const known = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).optionalDependencies
  return fail(
    name in known
      ? `the pinned Node (package ${name}) is missing: npm was told to omit optional packages. ` +
          'Run `npm ci --include=optional`, or use Node 24 or later.'
      : `no Node is pinned for ${process.platform} on ${process.arch}; install Node 24 or later and run this again.`,
  )
}

if (!script) fail('usage: node start.mjs SCRIPT [ARGUMENTS]')
install()
const node = pinnedNode()
const child = spawn(
  node,
  ['--disable-warning=ExperimentalWarning', '--enable-source-maps', join(root, script), ...args],
  {
    stdio: 'inherit',
    env: {
      // Whom the machine trusts counts too, as in the container image; Node by itself has a list of its own alone. That is
      // read when TLS is first spoken, and takes 50 ms then.
      NODE_USE_SYSTEM_CA: '1',
      ...process.env,
      PATH: [join(modules, '.bin'), dirname(node), process.env.PATH].join(delimiter),
    },
  },
)
// The child gets the terminal's own Ctrl-C too; a signal sent to this process alone is handed on.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('error', (error) => fail(`${node} cannot be started: ${error.message}`))
child.on('exit', (code, signal) => {
  if (signal) {
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
  } else process.exit(code ?? 1)
})
