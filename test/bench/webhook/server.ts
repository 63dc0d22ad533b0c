/**
 * kip's webhook alone, as every replica serves it: `server.ts IMAGES FOLDER`. What its watches would have told stands in
 * IMAGES, what the API server trusts in FOLDER. Listens on a free port of 127.0.0.1 and prints `listening PORT`.
 */
import { readFileSync } from 'node:fs'
import { createFileSource } from '../../../certs/file-source.ts'
import { createAdmission } from '../../../src/admission/admission.ts'
import { defaultSettings } from '../../../src/config/leaves.ts'
import { createMapping } from '../../../src/images/mapping.ts'
import { createLog } from '../../../src/metrics/log.ts'
import { createMetrics } from '../../../src/metrics/metrics.ts'
import { mirroredIn } from '../../support/admission-world.ts'
import type { Images } from './pod-review.ts'

const [file = '', folder = ''] = process.argv.slice(2)
const { registry, digests }: Images = JSON.parse(readFileSync(file, 'utf8'))
const mapping = createMapping({ registry, mapping: 'path' })
const images = new Map(
  Object.entries(digests).map(([reference, digest]) => [
    reference,
    mirroredIn(mapping, reference, digest),
  ]),
)
const log = createLog({ level: 'warn' })
const metrics = createMetrics()
const certificates = createFileSource({ folder, log, metrics })
const admission = createAdmission({
  store: { get: (reference) => images.get(reference), synced: Promise.resolve() },
  exclusions: { excluded: () => false, synced: Promise.resolve() },
  workloads: { ownsPod: () => false, synced: Promise.resolve() },
  mapping,
  settings: {
    ...defaultSettings,
    admission: { ...defaultSettings.admission, port: 0, url: 'https://127.0.0.1' },
  },
  certificates,
  log,
  metrics,
  sight: () => {},
})
await certificates.refresh(new AbortController().signal)
const { port } = await admission.start()
process.stdout.write(`listening ${port}\n`)
