import { mkdir, open, readFile, rename, rm, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { CertificateError } from '../../../certs/errors.ts'
import type { Authority } from '../../../certs/identity.ts'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import { checkPair, covers, readCertificate } from '../../../certs/pem.ts'

export interface IssueByHandOptions {
  /** Made when missing. */
  readonly folder: string
  /** Host names and IP addresses, at least one. */
  readonly names: readonly string[]
  readonly days: number
  /** Unix ms. */
  readonly now: number
}

interface File {
  readonly name: string
  readonly text: string
  readonly mode: number
}

const dayMs = 24 * 3_600_000
// Its key stays outside of the cluster, and a new one has to be carried there by hand.
const authorityDays = 3_650

/**
 * Issues a serving certificate into a folder: `tls.crt`, `tls.key`, `ca.crt`. The authority that lies there (`ca.crt`,
 * `ca.key`) signs it; where there is none, one is made.
 *
 * @returns when the certificate ends, Unix ms; not after its authority.
 * @throws CertificateError when the authority there is incomplete, broken, or has ended, a name is none, or the folder
 *   cannot be written to.
 */
export async function issueByHand(options: IssueByHandOptions): Promise<number> {
  const { folder, names, days, now } = options
  const authorityMs = Math.max(days, authorityDays) * dayMs
  const lifetimes = { ...defaultLifetimes, servingMs: days * dayMs, authorityMs }
  await make(folder)
  const found = await readAuthority(folder, now)
  const authority = found ?? (await issueAuthority({ now, lifetimes }))
  const serving = await issueServing(authority, { now, lifetimes, names })
  const issued = readCertificate(serving.certificate, 'tls.crt')
  if (!covers(issued, names)) {
    const message = `no certificate stands for all of ${names.join(', ')}: use plain host names or IP addresses`
    throw new CertificateError('KIP_CERTS_NAMES', message)
  }
  const authorityFiles: readonly File[] = [
    { name: 'ca.key', text: authority.key, mode: 0o600 },
    { name: 'ca.crt', text: authority.certificate, mode: 0o644 },
  ]
  await write(folder, [
    ...(found === undefined ? authorityFiles : []),
    { name: 'tls.key', text: serving.key, mode: 0o600 },
    { name: 'tls.crt', text: serving.certificate, mode: 0o644 },
  ])
  return issued.validToDate.getTime()
}

async function readAuthority(folder: string, now: number): Promise<Authority | undefined> {
  const [certificate, key] = await Promise.all([read(folder, 'ca.crt'), read(folder, 'ca.key')])
  if (certificate === undefined && key === undefined) return undefined
  if (certificate === undefined || key === undefined) {
    const missing = certificate === undefined ? 'ca.crt' : 'ca.key'
    throw new CertificateError('KIP_CERTS_FILES', `${folder}: half an authority, no ${missing}`)
  }
  const what = `ca.crt and ca.key in ${folder}`
  checkPair(certificate, key, what)
  if (now >= readCertificate(certificate, what).validToDate.getTime()) {
    const message = `${what}: has ended; issue into another folder, with a new authority`
    throw new CertificateError('KIP_CERTS_INVALID', message)
  }
  return { certificate, key }
}

async function read(folder: string, file: string): Promise<string | undefined> {
  try {
    return await readFile(join(folder, file), 'utf8')
  } catch (cause) {
    if (codeOf(cause) === 'ENOENT') return undefined
    throw failure(`${folder}/${file} cannot be read`, cause)
  }
}

/** Not by the `recursive` of mkdir: below `/proc`, where nothing can be made, that never ends. */
async function make(folder: string): Promise<void> {
  try {
    await makeBelow(folder)
  } catch (cause) {
    throw failure(`the folder ${folder} cannot be made`, cause)
  }
}

async function makeBelow(folder: string): Promise<void> {
  try {
    await mkdir(folder, { mode: 0o700 })
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return
    if (codeOf(error) !== 'ENOENT' || dirname(folder) === folder) throw error
    await makeBelow(dirname(folder))
    await mkdir(folder, { mode: 0o700 })
  }
}

/**
 * Under their names they appear whole, and never readable by more than they should be; none before all are written, so that
 * no full disk leaves half an authority, or a key beside another's certificate.
 */
async function write(folder: string, files: readonly File[]): Promise<void> {
  const written: string[] = []
  try {
    for (const { name, text, mode } of files) {
      const path = `${join(folder, name)}.new`
      await changing(join(folder, name), async () => {
        // What lies there may be open to more, or be a link.
        await remove(path)
        const file = await open(path, 'wx', mode)
        written.push(path)
        await file.writeFile(`${text.trim()}\n`).finally(() => file.close())
      })
    }
    for (const { name } of files) {
      const path = join(folder, name)
      await changing(path, () => rename(`${path}.new`, path))
    }
  } finally {
    for (const path of written) await rm(path, { force: true })
  }
}

async function remove(path: string): Promise<void> {
  await unlink(path).catch((error: unknown) => {
    if (codeOf(error) !== 'ENOENT') throw error
  })
}

async function changing(path: string, change: () => Promise<unknown>): Promise<void> {
  try {
    await change()
  } catch (cause) {
    throw failure(`${path} cannot be written`, cause)
  }
}

function failure(what: string, cause: unknown): CertificateError {
  return new CertificateError('KIP_CERTS_FILES', `${what} (${codeOf(cause)})`, { cause })
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}
