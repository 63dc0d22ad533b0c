import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { describe, test } from 'node:test'
import { promisify } from 'node:util'
import { kipCopy } from '../../support/copy-command.ts'
import { FakeRegistry } from '../../support/fake-registry.ts'
import { noise, sampleImage } from '../../support/sample-images.ts'

const skip = await promisify(execFile)('script', ['--version']).then(
  () => false,
  () => 'probe failed: script (of bsdutils), which makes a terminal',
)

describe('kip copy on a terminal', { skip }, () => {
  const name = 'shows each layer on its way, and leaves only what became of the image'
  test(name, { timeout: 30_000 }, async ({ signal }) => {
    await using source = await FakeRegistry.start()
    await using target = await FakeRegistry.start()
    const layer = noise('terminal', 1_000_000)
    const image = sampleImage({ layers: [layer] })
    await source.client.push(image, 'a/b', 'v1')
    const drawn = Promise.withResolvers<void>()
    source.interceptor = async ({ method, url = '' }, response) => {
      if (method !== 'GET' || !url.endsWith(`/blobs/${image.blobs[1]?.digest}`)) return false
      response.writeHead(200, { 'content-length': layer.length }).write(layer.subarray(0, 500_000))
      await drawn.promise
      response.end(layer.subarray(500_000))
      return true
    }
    const ends = [`${source.host}/a/b:v1`, `${target.host}/c/d:v1`]
    const run = await kipCopy(['--http', source.host, '--http', target.host, ...ends], {
      // All that the command writes goes to a terminal, which comes out here.
      enter: ['sh', '-c', 'exec script -qec "stty cols 100 rows 30; exec $*" /dev/null', 'sh'],
      typing: true,
      started: (child) => {
        let seen = ''
        signal.addEventListener('abort', () => child.kill('SIGKILL'))
        signal.addEventListener('abort', () => drawn.resolve())
        child.stdout?.on('data', (bytes: Buffer) => {
          seen += bytes
          if (/\[#+\.+\] .* of 1\.0 MB/.test(seen)) drawn.resolve()
        })
      },
    })
    assert.equal(run.code, 0, run.stdout)
    const left = run.stdout.slice(run.stdout.lastIndexOf('\u001b[J') + '\u001b[J'.length)
    assert.equal(
      left.trimEnd().replace(/\(.*/, '('),
      `copied ${ends.join(' -> ')} ${image.digest} (`,
    )
  })
})
