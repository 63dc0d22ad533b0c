import {
  CredentialConfigError,
  faultOfAuthorities,
  parseDockerConfig,
} from '@containers/image-copy'
import type { Settings } from './settings.ts'

export interface NamedFilesOptions {
  readonly settings: Settings
  /** Settings that the schema refused; their files are not looked at. */
  readonly isRefused: (key: string) => boolean
  /** The setting as the user spelled it. */
  readonly nameOf: (key: string) => string
  readonly readFile: (path: string) => string
}

/** The settings with what stands in files, and what was wrong with those. */
export interface NamedFiles {
  readonly settings: Settings
  readonly faults: readonly string[]
}

/**
 * Looks into the files that settings name, so that a missing one is told at the start with all other faults, and reads
 * the mirror's password. No content of a file goes into a message.
 */
export function readNamedFiles(options: NamedFilesOptions): NamedFiles {
  const { settings } = options
  const faults: string[] = []

  function read(key: string, path: string, faultOf: (text: string) => string | undefined): string {
    if (options.isRefused(key) || path === '') return ''
    let text: string
    try {
      text = options.readFile(path)
    } catch (error) {
      faults.push(`${options.nameOf(key)}: cannot read ${path} (${readErrorCode(error)})`)
      return ''
    }
    const fault = faultOf(text)
    if (fault !== undefined) faults.push(`${options.nameOf(key)}: ${path} ${fault}`)
    return text
  }

  const { caFile, credentialsFile } = settings.registries
  read('registries.caFile', caFile, faultOfAuthorities)
  read('multiCluster.caFile', settings.multiCluster.caFile, faultOfAuthorities)
  read('registries.credentialsFile', credentialsFile, faultOfDockerConfig)
  const password = read('mirror.passwordFile', settings.mirror.passwordFile, (text) =>
    text.trim() === '' ? 'is empty' : undefined,
  )
  return {
    faults,
    settings:
      password === ''
        ? settings
        : // Editors and `echo` end a file with a line's end that is no part of the password.
          { ...settings, mirror: { ...settings.mirror, password: password.replace(/\r?\n$/, '') } },
  }
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
