'use strict'
// node record.cjs PROGRAM OUTPUT ARGUMENTS…: runs kip.js as start.cjs does, and writes V8's compiled form of what ran.
const { readFileSync, writeFileSync } = require('node:fs')
const { dirname } = require('node:path')
const { setFlagsFromString } = require('node:v8')
const { Script } = require('node:vm')

const [filename, output] = process.argv.splice(2, 2)
const script = new Script(readFileSync(filename, 'latin1'), { filename })
process.on('exit', () => {
  // The flags at this moment are those that it will be good for, and a copy of some length changes them.
  for (const flag of ['--opt', '--maglev']) setFlagsFromString(flag)
  writeFileSync(output, script.createCachedData())
})
const importModule = (path) => import(path)
script.runInThisContext()(require, module, exports, filename, dirname(filename), importModule)
