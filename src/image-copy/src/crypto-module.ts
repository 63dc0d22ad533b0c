/** node:crypto, loaded when it is first wanted: it takes 5 ms, in which the first connections can be opened already. */
export function cryptoModule(): typeof import('node:crypto') {
  return process.getBuiltinModule('node:crypto')
}
