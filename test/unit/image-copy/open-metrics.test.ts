import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  type Counters,
  createRegistryClient,
  metricFamilies,
  openMetrics,
} from '../../../src/image-copy/src/index.ts'

const none = { '2xx': 0, '3xx': 0, '429': 0, '4xx': 0, '5xx': 0, none: 0, stopped: 0 }
const counters: Counters = {
  hosts: [
    {
      host: 'docker.io',
      requests: {
        read: { ...none, '2xx': 12, '429': 1 },
        write: none,
        token: { ...none, none: 2 },
      },
      sentBytes: 0,
      receivedBytes: 123456789012,
      connections: 3,
      failedConnections: 1,
      retries: 4,
      throttledWaits: 1,
      throttledMs: 1500,
      resumedDownloads: 1,
      resumedUploads: 0,
      rateLimit: { remaining: 76 },
    },
  ],
  blobs: {
    copied: { count: 2, bytes: 1000 },
    present: { count: 0, bytes: 0 },
    mounted: { count: 1, bytes: 10 },
    skipped: { count: 0, bytes: 0 },
  },
  images: { done: 1, failed: 2, stopped: 0 },
}

test('counters are written as OpenMetrics text', () => {
  assert.equal(
    openMetrics(counters),
    `# TYPE image_copy_requests counter
# HELP image_copy_requests Requests that are over, by what they were for and the class of their answer.
image_copy_requests_total{host="docker.io",kind="read",status="429"} 1
image_copy_requests_total{host="docker.io",kind="read",status="2xx"} 12
image_copy_requests_total{host="docker.io",kind="token",status="none"} 2
# TYPE image_copy_received_bytes counter
# UNIT image_copy_received_bytes bytes
# HELP image_copy_received_bytes Bytes of bodies of answers.
image_copy_received_bytes_total{host="docker.io"} 123456789012
# TYPE image_copy_sent_bytes counter
# UNIT image_copy_sent_bytes bytes
# HELP image_copy_sent_bytes Bytes of bodies of requests.
image_copy_sent_bytes_total{host="docker.io"} 0
# TYPE image_copy_connections counter
# HELP image_copy_connections Connections that were opened.
image_copy_connections_total{host="docker.io"} 3
# TYPE image_copy_failed_connections counter
# HELP image_copy_failed_connections Connections that could not be opened.
image_copy_failed_connections_total{host="docker.io"} 1
# TYPE image_copy_retries counter
# HELP image_copy_retries Tries of requests and transfers again.
image_copy_retries_total{host="docker.io"} 4
# TYPE image_copy_throttled_waits counter
# HELP image_copy_throttled_waits Waits because the registry asked for patience.
image_copy_throttled_waits_total{host="docker.io"} 1
# TYPE image_copy_throttled_seconds counter
# UNIT image_copy_throttled_seconds seconds
# HELP image_copy_throttled_seconds Time waited because the registry asked for patience.
image_copy_throttled_seconds_total{host="docker.io"} 1.5
# TYPE image_copy_resumed_downloads counter
# HELP image_copy_resumed_downloads Downloads that went on where they broke.
image_copy_resumed_downloads_total{host="docker.io"} 1
# TYPE image_copy_resumed_uploads counter
# HELP image_copy_resumed_uploads Uploads that went on where they broke.
image_copy_resumed_uploads_total{host="docker.io"} 0
# TYPE image_copy_pulls_left gauge
# HELP image_copy_pulls_left Pulls that the registry still allows, as it last said.
image_copy_pulls_left{host="docker.io"} 76
# TYPE image_copy_blobs counter
# HELP image_copy_blobs Blobs of images, by how they came into the target.
image_copy_blobs_total{how="copied"} 2
image_copy_blobs_total{how="present"} 0
image_copy_blobs_total{how="mounted"} 1
image_copy_blobs_total{how="skipped"} 0
# TYPE image_copy_blob_bytes counter
# UNIT image_copy_blob_bytes bytes
# HELP image_copy_blob_bytes Bytes of blobs of images, by how they came into the target.
image_copy_blob_bytes_total{how="copied"} 1000
image_copy_blob_bytes_total{how="present"} 0
image_copy_blob_bytes_total{how="mounted"} 10
image_copy_blob_bytes_total{how="skipped"} 0
# TYPE image_copy_images counter
# HELP image_copy_images Copies of images that ended, by how.
image_copy_images_total{result="done"} 1
image_copy_images_total{result="failed"} 2
image_copy_images_total{result="stopped"} 0
# EOF
`,
  )
})

test('what a label holds cannot end it', () => {
  const [host] = counters.hosts
  assert.ok(host)
  const text = openMetrics({ ...counters, hosts: [{ ...host, host: 'a"b\\c\nd' }] })
  assert.ok(text.includes('image_copy_retries_total{host="a\\"b\\\\c\\nd"} 4\n'))
})

test('a prefix goes before each name, and has to be the beginning of one', () => {
  assert.match(openMetrics(counters, 'kip_copy'), /^kip_copy_images_total\{result="done"\} 1$/m)
  for (const prefix of ['', '1x', 'a-b', 'a b', 'a\n'])
    assert.throws(() => openMetrics(counters, prefix), TypeError)
})

test('a client that did nothing has metrics without samples of hosts', async () => {
  const client = createRegistryClient()
  const families = metricFamilies(client.counters())
  assert.ok(families.length > 10)
  for (const { labels, samples } of families)
    assert.equal(samples.length === 0, labels.includes('host'))
  await client.close()
})

test('each sample has the labels of its metric, and each unit ends a name', () => {
  for (const { name, unit, labels, samples } of metricFamilies(counters)) {
    for (const sample of samples) assert.deepEqual(Object.keys(sample.labels), labels)
    assert.ok(unit === undefined || name.endsWith(`_${unit}`))
  }
})
