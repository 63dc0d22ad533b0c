/** node:tls, loaded when it is first wanted: it takes 10 ms and 2 MiB from the start of a process that may need none. */
export function tlsModule(): typeof import('node:tls') {
  return process.getBuiltinModule('node:tls')
}
