/**
 * A webhook of somebody else's: `sidecar-webhook.ts CERTIFICATE KEY IMAGE` adds a container of that image to every pod that has
 * none yet. Listens on a free port of 127.0.0.1 and prints `listening PORT`.
 */
import { readFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { text } from 'node:stream/consumers'

const [certificate = '', key = '', image = ''] = process.argv.slice(2)
const server = createServer(
  { cert: readFileSync(certificate), key: readFileSync(key) },
  async (request, response) => {
    const review = JSON.parse(await text(request))
    const { uid, object } = review.request
    const has = object.spec.containers.some(({ name }: { name: string }) => name === 'sidecar')
    const patch = [{ op: 'add', path: '/spec/containers/-', value: { name: 'sidecar', image } }]
    const answer = {
      uid,
      allowed: true,
      ...(!has && {
        patchType: 'JSONPatch',
        patch: Buffer.from(JSON.stringify(patch)).toString('base64'),
      }),
    }
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify({ ...review, request: undefined, response: answer }))
  },
)
server.listen(0, '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object') process.stdout.write(`listening ${address?.port}\n`)
})
