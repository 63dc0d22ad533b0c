/** A reporter for node:test: one line of JSON for each test that ended, so that the runner need not read prose. */
import { inspect } from 'node:util'

interface TestEvent {
  readonly type: string
  readonly data: {
    readonly name: string
    readonly nesting: number
    readonly skip?: string | boolean
    readonly todo?: string | boolean
    readonly details?: { readonly type?: string; readonly error?: { readonly cause?: unknown } }
  }
}

// biome-ignore lint/style/noDefaultExport: node:test takes a reporter as the default export
export default async function* events(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const path: string[] = []
  for await (const { type, data } of source) {
    if (type === 'test:start') {
      path.length = data.nesting
      path.push(data.name)
    }
    if (type !== 'test:pass' && type !== 'test:fail') continue
    path.length = data.nesting
    const name = [...path, data.name].join(' › ')
    const suite = data.details?.type === 'suite'
    const failed = type === 'test:fail'
    const skipped = data.skip !== undefined && data.skip !== false
    // A suite that was skipped has no tests that could say so.
    if (suite && !failed && !skipped) continue
    const error = data.details?.error
    const cause = error?.cause ?? error
    if (failed && suite && String(cause).includes('subtest')) continue
    const todo = data.todo !== undefined && data.todo !== false
    const event = {
      type: failed ? 'fail' : skipped ? 'skip' : todo ? 'todo' : 'pass',
      name,
      ...(failed ? { detail: describe(cause) } : {}),
      ...(skipped && typeof data.skip === 'string' ? { detail: data.skip } : {}),
    }
    yield `${JSON.stringify({ 'kip-test': event })}\n`
  }
}

function describe(cause: unknown): string {
  if (cause instanceof Error) return cause.stack ?? cause.message
  return typeof cause === 'string' ? cause : inspect(cause, { depth: 4 })
}
