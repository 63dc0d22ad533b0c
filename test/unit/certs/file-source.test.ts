import assert from 'node:assert/strict'
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { createFileSource } from '../../../certs/file-source.ts'
import { issueAuthority, issueServing } from '../../../certs/issue.ts'
import { defaultLifetimes } from '../../../certs/lifetimes.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { silentLog } from '../../support/silent-log.ts'

const { signal } = new AbortController()

test('mounted files are followed through the swap of the link; a bad set keeps the last good one', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'kip-certs-'))
  t.after(() => rm(folder, { recursive: true }))
  const context = { now: Date.now(), lifetimes: defaultLifetimes, names: ['webhook.example'] }
  const ca = await issueAuthority(context)

  // As the kubelet mounts a Secret: files are links through ..data, which is swapped by a rename.
  async function mount(generation: string, files: Record<string, string>): Promise<void> {
    await mkdir(join(folder, generation))
    for (const [file, text] of Object.entries(files))
      await writeFile(join(folder, generation, file), text)
    await symlink(generation, join(folder, '..data_tmp'))
    await rename(join(folder, '..data_tmp'), join(folder, '..data'))
  }
  for (const file of ['tls.crt', 'tls.key', 'ca.crt'])
    await symlink(`..data/${file}`, join(folder, file))

  const source = createFileSource({
    folder,
    log: silentLog(),
    metrics: createMetrics({ processMetrics: false }),
  })
  await assert.rejects(source.refresh(signal), { code: 'KIP_CERTS_FILES', message: /no tls\.crt/ })

  const first = await issueServing(ca, context)
  await mount('1', { 'tls.crt': first.certificate, 'tls.key': first.key, 'ca.crt': ca.certificate })
  await source.refresh(signal)
  assert.deepEqual(source.current(), { ...first, bundle: ca.certificate })

  const second = await issueServing(ca, context)
  await mount('2', {
    'tls.crt': second.certificate,
    'tls.key': first.key,
    'ca.crt': ca.certificate,
  })
  await assert.rejects(source.refresh(signal), { code: 'KIP_CERTS_MISMATCH' })
  assert.equal(source.current()?.certificate, first.certificate)

  await mount('3', { 'tls.crt': second.certificate, 'tls.key': second.key })
  await source.refresh(signal)
  assert.deepEqual(source.current(), { ...second, bundle: '' })
})
