/** Under the name that kip gives the object of one reference stands another reference: never used for the first. */
export class NameTakenError extends Error {
  readonly code = 'KIP_STATE_NAME_TAKEN'
  constructor(name: string, reference: string, found: string) {
    super(
      `CachedImage ${name}, the name of ${reference}, holds ${found || 'no valid reference'}; delete it`,
    )
    this.name = 'NameTakenError'
  }
}
