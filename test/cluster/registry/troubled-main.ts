import { readFileSync } from 'node:fs'
import { TroubledServer, type TroubledServerOptions } from './troubled-server.ts'

// A daemon of a cluster: a registry's address with trouble, in the network namespace that it was started in.

const file = process.argv[2] ?? ''
const options: TroubledServerOptions = JSON.parse(readFileSync(file, 'utf8'))
await TroubledServer.start(options)
