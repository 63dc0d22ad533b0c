export type MappingErrorCode = 'KIP_MAPPING_NO_BACKUP' | 'KIP_MAPPING_DIGEST'

/** A source has no place in the backup. */
export class MappingError extends Error {
  readonly code: MappingErrorCode
  constructor(code: MappingErrorCode, message: string) {
    super(message)
    this.name = 'MappingError'
    this.code = code
  }
}
