'use strict'
// The main.js of kip's bundle: runs kip.js beside it in the compiled form that docker/precompile.ts left, which saves most starts
// and first calls the compiling. V8 holds that form against its own version and flags, and compiles anew when they differ.
const { readFileSync } = require('node:fs')
const { Script } = require('node:vm')

const filename = `${__dirname}/kip.js`
const script = new Script(readFileSync(filename, 'latin1'), {
  filename,
  cachedData: readFileSync(`${__dirname}/kip.compiled`),
})
const importModule = (path) => import(path)
script.runInThisContext()(require, module, exports, __filename, __dirname, importModule)
