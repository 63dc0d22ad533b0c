import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import {
  type CopyOptions,
  copyImage,
  createRegistryClient,
} from '../../../src/image-copy/src/index.ts'
import { tinyImage } from '../../cluster/images/tiny.ts'
import type { Trouble } from '../../cluster/registry/troubled-server.ts'
import { independentTools } from '../../support/independent-tools.ts'
import {
  type RegistryKind,
  startRegistry,
  type TestRegistry,
  whyNoRegistry,
} from '../../support/registry.ts'
import { waitUntil } from '../../support/wait-until.ts'

const MiB = 1024 * 1024
const missing = await whyNoRegistry()

/** What a registry does with an upload of which a body broke. */
const kinds: Readonly<Record<RegistryKind, 'goes on' | 'begins anew'>> = {
  'distribution 2.8': 'begins anew',
  'distribution 3': 'goes on',
  'go-containerregistry': 'begins anew',
}

/** Where bodies break, and how much of the blob is there then. */
const breaks: Readonly<Record<string, { troubles: readonly Trouble[]; there: number }>> = {
  'in one body': {
    troubles: [{ method: 'PUT', bodyOver: MiB, cutRequestAfter: 3 * MiB, times: 1 }],
    there: 3 * MiB,
  },
  'in pieces, since larger bodies are refused': {
    troubles: [
      { bodyOver: 1.5 * MiB, status: 413 },
      // Two pieces pass.
      { method: 'PATCH', times: 2 },
      { method: 'PATCH', cutRequestAfter: 600_000, times: 1 },
    ],
    there: 2 * MiB + 600_000,
  },
}

for (const [kind, then] of Object.entries(kinds) as [RegistryKind, string][]) {
  const reason = missing ?? (await whyNoRegistry(kind))
  describe(`an upload to ${kind} that breaks`, { skip: reason ?? false }, () => {
    let source: TestRegistry
    let target: TestRegistry
    let number = 0

    before(async () => {
      source = await startRegistry()
      target = await startRegistry({ kind })
    })
    after(async () => {
      await source?.close()
      await target?.close()
    })

    /** Copies an image of one layer, of more than 5 MiB. @returns bytes of bodies that the target was given beyond those it needs */
    const copy = async (
      troubles: readonly Trouble[],
      options: CopyOptions = {},
    ): Promise<number> => {
      number += 1
      const image = tinyImage(number, 5 * MiB)
      const repository = `broken/${number}`
      await source.client.push(image, repository, '1')
      await using at = await target.troubled(troubles)
      const client = createRegistryClient({
        hosts: () => ({ http: true }),
        retry: { baseMs: 1, maxMs: 5 },
      })
      try {
        await copyImage(
          client,
          { registry: source.host, repository, tag: '1' },
          { registry: at.host, repository, tag: '1' },
          options,
        )
      } finally {
        await client.close()
      }
      assert.ok(
        at.left.every((times) => times === 0 || times === Number.POSITIVE_INFINITY),
        'not every trouble came',
      )
      await using tools = await independentTools(target)
      await tools.validate(repository, '1', 'whole')
      const needed = image.blobs.reduce((sum, { size }) => sum + size, image.bytes.length)
      return at.passed() - needed
    }

    for (const [how, { troubles, there }] of Object.entries(breaks)) {
      test(`${how}, ${then}`, async () => {
        assert.equal(await copy(troubles), then === 'goes on' ? 0 : there)
      })
    }

    // Of the others, distribution 2.8 refuses whatever it is asked about such an upload, and go-containerregistry knows no cancelling.
    if (kind === 'distribution 3')
      test('since the copy is stopped, is freed', async () => {
        const mark = await target.accessLogEnd()
        const stop = new AbortController()
        const onEvent: CopyOptions['onEvent'] = (event) => {
          if (event.type === 'blob-progress' && event.sent > 3 * MiB)
            stop.abort(new Error('enough'))
        }
        await assert.rejects(copy([], { signal: stop.signal, onEvent }), /enough/)
        const upload = await waitUntil('the broken upload in the log', async () =>
          (await target.accessLog(mark)).find(
            ({ method, status }) => method === 'PUT' && status >= 400,
          ),
        )
        const [place = ''] = upload.path.split('?')
        await waitUntil('its cancelling in the log', async () =>
          (await target.accessLog(mark)).some(
            ({ method, path, status }) =>
              method === 'DELETE' && path.startsWith(place) && status === 204,
          ),
        )
      })
  })
}
