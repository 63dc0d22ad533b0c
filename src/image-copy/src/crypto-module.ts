/** node:crypto, loaded when it is first wanted: it takes 5 ms, in which the first connections can be opened already. */
export function cryptoModule(): typeof import('node:crypto') {
  loaded ??= process.getBuiltinModule('node:crypto')
  return loaded
}

let loaded: typeof import('node:crypto') | undefined
