/** node:crypto, loaded when it is first wanted: it takes 4 ms, and where nothing is to do nothing wants it. */
export function cryptoModule(): typeof import('node:crypto') {
  loaded ??= process.getBuiltinModule('node:crypto')
  return loaded
}

let loaded: typeof import('node:crypto') | undefined
