import { printable, RegistryError } from '../errors.ts'
import type { Credential, CredentialSource } from './credential.ts'
import type { DockerConfig } from './docker-config.ts'
import { createKeyring } from './keyring.ts'

/** How helpers are run. */
export interface DockerCredentialsOptions {
  /** Environment for credential helpers; its PATH is where they are looked for. Without it helpers are not run. */
  readonly helperEnvironment?: Readonly<Record<string, string | undefined>> | undefined
  /** Time for one helper, in milliseconds. Default 20,000: cloud helpers make requests of their own. */
  readonly helperTimeoutMs?: number | undefined
}

const helperName = /^[A-Za-z0-9._-]{1,64}$/
const maxHelperOutput = 256 * 1024

/**
 * Makes a credential source of docker configurations: static entries by the kubelet's rules first, then the helper that a
 * configuration names for the host (`credHelpers`, else `credsStore`).
 *
 * Helpers run without a shell, get the host on standard input, and have bounded time and output.
 */
export function dockerCredentials(
  configs: readonly DockerConfig[],
  options: DockerCredentialsOptions = {},
): CredentialSource {
  const keyring = createKeyring(configs)
  return async (host, repository) => {
    const found = [...keyring.lookup(host, repository)]
    const { helperEnvironment, helperTimeoutMs = 20_000 } = options
    if (helperEnvironment === undefined) return found
    for (const config of configs) {
      const server = host === 'docker.io' ? 'https://index.docker.io/v1/' : host
      const helper = config.credHelpers[host] ?? config.credHelpers[server] ?? config.credsStore
      if (helper === undefined) continue
      const credential = await runHelper(helper, server, helperEnvironment, helperTimeoutMs)
      if (credential !== undefined) found.push(credential)
    }
    return found
  }
}

/** https://github.com/docker/docker-credential-helpers#usage */
async function runHelper(
  helper: string,
  server: string,
  env: Readonly<Record<string, string | undefined>>,
  timeoutMs: number,
): Promise<Credential | undefined> {
  const fail = (why: string, cause?: unknown): RegistryError =>
    new RegistryError(
      'COPY_CREDENTIAL_HELPER',
      `credential helper docker-credential-${printable(helper, 64)}: ${why}`,
      {
        host: server,
        cause,
      },
    )
  if (!helperName.test(helper)) throw fail('its name may only hold letters, digits, . _ and -')
  // Loaded only here: few hosts have a helper.
  const { spawn } = await import('node:child_process')
  const { code, output } = await new Promise<{ code: number | null; output: string }>(
    (resolve, reject) => {
      const child = spawn(`docker-credential-${helper}`, ['get'], {
        env: { ...env },
        stdio: ['pipe', 'pipe', 'ignore'],
      })
      const parts: Buffer[] = []
      let size = 0
      const giveUp = (): void => {
        clearTimeout(timer)
        child.kill('SIGKILL')
        // What the helper started may still hold the pipe open.
        child.stdout.destroy()
        resolve({ code: null, output: '' })
      }
      const timer = setTimeout(giveUp, timeoutMs)
      child.stdout.on('data', (bytes: Buffer) => {
        size += bytes.length
        if (size > maxHelperOutput) giveUp()
        else parts.push(bytes)
      })
      child.on('error', (error) => {
        clearTimeout(timer)
        reject(fail('cannot be run; is it installed and on PATH?', error))
      })
      child.on('close', (status) => {
        clearTimeout(timer)
        resolve({ code: status, output: Buffer.concat(parts).toString('utf8') })
      })
      child.stdin.on('error', () => {})
      child.stdin.end(`${server}\n`)
    },
  )
  // The documented way to say "none", on standard output with status 1.
  if (code !== 0 && /credentials not found/i.test(output)) return undefined
  if (code === null) throw fail(`gave no answer within ${timeoutMs} ms, or too much of one`)
  if (code !== 0) throw fail(`exited with status ${code}`)
  let answer: unknown
  try {
    answer = JSON.parse(output)
  } catch {
    throw fail('its answer is not JSON')
  }
  const { Username, Secret } = (answer ?? {}) as { Username?: unknown; Secret?: unknown }
  if (typeof Username !== 'string' || typeof Secret !== 'string')
    throw fail('its answer lacks Username or Secret')
  if (Secret === '') return undefined
  return Username === '<token>'
    ? { identityToken: Secret }
    : { username: Username, password: Secret }
}
