/** node:crypto, loaded when it is first wanted: it takes 4 ms, and where nothing is to do nothing wants it. */
export function cryptoModule(): typeof import('node:crypto') {
  loaded ??= process.getBuiltinModule('node:crypto')
  return loaded
}

/** Loads it while `answers` are waited for, if they take longer than within a data centre: then it costs nothing. */
export function loadCryptoMeanwhile(answers: Promise<unknown>): void {
  if (loaded !== undefined) return
  let waiting = true
  const end = (): void => {
    waiting = false
  }
  answers.then(end, end)
  const load = (): void => {
    if (waiting) cryptoModule()
  }
  // A timer's clock stands still within a turn, and the questions themselves go out in the next.
  setImmediate(() => setTimeout(load, farMs).unref())
}

/** A registry in the same data centre mostly answers sooner. */
const farMs = 5

let loaded: typeof import('node:crypto') | undefined
