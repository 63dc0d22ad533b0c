import { formatReference, type ImageReference } from '@containers/image-copy'
import type { Failure } from './failure.ts'

/** What became of a tag of a target that nothing selects; with `skipped`, and where they cannot be listed, of all of a repository. */
export type ExtraOutcome =
  | { readonly status: 'extra' | 'to-delete' | 'deleted' }
  | { readonly status: 'skipped'; readonly message: string }
  | Failure

/** What a run found in all. */
export interface ExtraSummary {
  readonly found: number
  readonly deleted: number
  /** Tags that could not be deleted, and repositories whose tags could not be listed. */
  readonly failed: number
}

/** Counts what comes of extra tags. */
export class ExtraTally {
  #found = 0
  #deleted = 0
  #failed = 0

  add(target: ImageReference, { status }: ExtraOutcome): void {
    if (target.tag !== undefined) this.#found += 1
    if (status === 'deleted') this.#deleted += 1
    if (status === 'failed' || status === 'stopped') this.#failed += 1
  }

  summary(): ExtraSummary {
    return { found: this.#found, deleted: this.#deleted, failed: this.#failed }
  }
}

/** One line for people. */
export function extraLine(target: ImageReference, outcome: ExtraOutcome): string {
  const name = formatReference(target)
  switch (outcome.status) {
    case 'extra':
      return `extra ${name}`
    case 'to-delete':
      return `would delete ${name}`
    case 'deleted':
      return `deleted ${name}`
    case 'skipped':
      return `skipped extra tags of ${name}: ${outcome.message}`
    case 'failed':
      return `failed ${subject(target)}: ${outcome.message} [${outcome.code}]`
    case 'stopped':
      return `stopped ${subject(target)}: ${outcome.message}`
  }
}

function subject(target: ImageReference): string {
  const name = formatReference(target)
  return target.tag === undefined ? `with extra tags of ${name}` : `to delete ${name}`
}

/** The same for programs: an object of one line. */
export function extraJson(target: ImageReference, outcome: ExtraOutcome): string {
  return JSON.stringify({ type: 'extra-tag', target: formatReference(target), ...outcome })
}
