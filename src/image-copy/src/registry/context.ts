import { Stop, type StopSignal } from '../abortable.ts'
import type { CopyEvent } from '../events.ts'

/** What travels with every request of one call: how to stop it, and where its events go. */
export interface Context {
  readonly signal: StopSignal
  /** The image that events are about. */
  readonly image: string
  readonly emit: (event: CopyEvent) => void
  /** Fewer tries of one request than are usual: for mirrors, which have somebody behind them. */
  readonly tries?: number | undefined
}

const never = new Stop()

/** A context for calls that copy nothing and report no progress: by default they tell nobody of retries either. */
export function quietContext(
  signal: AbortSignal | undefined,
  image: string,
  emit: Context['emit'] = () => {},
): Context {
  return { signal: signal ?? never, image, emit }
}
