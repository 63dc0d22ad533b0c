import {
  CredentialConfigError,
  faultOfAuthorities,
  parseDockerConfig,
} from '@containers/image-copy'
import { ConfigError } from './errors.ts'
import { passwordIn } from './password-file.ts'
import type { Settings } from './settings.ts'

export interface NamedFilesOptions {
  readonly settings: Settings
  /** Settings that the schema refused; their files are not looked at. */
  readonly isRefused: (key: string) => boolean
  /** The setting as the user spelled it. */
  readonly nameOf: (key: string) => string
  readonly readFile: (path: string) => string
}

/**
 * Looks into the files that settings name, so that what is wrong with one is told at the start with all other faults; who
 * needs a file's content reads it then, as it is by that time. No content of a file goes into a message.
 */
export function faultsOfNamedFiles(options: NamedFilesOptions): readonly string[] {
  const { settings } = options
  const faults: string[] = []

  function look(key: string, path: string, faultOf: (text: string) => string | undefined): void {
    if (options.isRefused(key) || path === '') return
    try {
      readNamedFile({ name: options.nameOf(key), path, readFile: options.readFile, faultOf })
    } catch (error) {
      if (!(error instanceof ConfigError)) throw error
      faults.push(...error.faults)
    }
  }

  const { caFile, credentialsFile } = settings.registries
  look('registries.caFile', caFile, faultOfAuthorities)
  look('multiCluster.caFile', settings.multiCluster.caFile, faultOfAuthorities)
  look('registries.credentialsFile', credentialsFile, faultOfDockerConfig)
  look('mirror.passwordFile', settings.mirror.passwordFile, (text) =>
    passwordIn(text) === '' ? 'is empty' : undefined,
  )
  return faults
}

export interface NamedFile {
  /** The setting that names it. */
  readonly name: string
  readonly path: string
  readonly readFile: (path: string) => string
  /** What is wrong with a text, as the rest of a sentence; undefined: nothing. */
  readonly faultOf: (text: string) => string | undefined
}

/** Reads a file that a setting names. @throws ConfigError with one fault, which holds nothing of what is in the file */
export function readNamedFile({ name, path, readFile, faultOf }: NamedFile): string {
  let text: string
  try {
    text = readFile(path)
  } catch (error) {
    throw new ConfigError([`${name}: cannot read ${path} (${readErrorCode(error)})`])
  }
  const fault = faultOf(text)
  if (fault !== undefined) throw new ConfigError([`${name}: ${path} ${fault}`])
  return text
}

/** Why a file could not be read, for a message. */
export function readErrorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error)
}

/** What is wrong with a Docker config.json, as whoever looks for a credential in it would find. */
function faultOfDockerConfig(text: string): string | undefined {
  try {
    parseDockerConfig(text)
    return undefined
  } catch (error) {
    if (!(error instanceof CredentialConfigError)) throw error
    return `is no Docker config.json (${error.message})`
  }
}
