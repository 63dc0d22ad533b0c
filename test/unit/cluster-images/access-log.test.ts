import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { parseAccessLogLine } from '../../cluster/registry/access-log.ts'
import { listeningPort } from '../../cluster/registry/config.ts'

describe("a registry's log", () => {
  it('gives a request', () => {
    const line =
      '10.96.0.11 - kip [21/Nov/2026:01:26:22 +0100] "GET /v2/a/b/tags/list?n=1 HTTP/1.1" 200 23 "" "containerd/v2.2.9 (\\"x\\")"'
    assert.deepEqual(parseAccessLogLine(line), {
      time: new Date('2026-11-21T00:26:22Z'),
      method: 'GET',
      path: '/v2/a/b/tags/list?n=1',
      status: 200,
      bytes: 23,
      remoteAddress: '10.96.0.11',
      userAgent: 'containerd/v2.2.9 ("x")',
    })
  })

  it('gives nothing for another line', () => {
    for (const line of ['', 'time="2026-11-21T01:26:22Z" level=info msg="listening on [::]:5000"'])
      assert.equal(parseAccessLogLine(line), undefined)
  })

  it('tells the last port that it listened on', () => {
    assert.equal(listeningPort('time=x level=info msg="redis not configured"'), undefined)
    const [plain, tls] = ['listening on 127.0.0.1:4001', 'listening on [::]:4002, tls']
    assert.equal(listeningPort(`msg="${plain}" go.version=go1.19`), 4001)
    assert.equal(listeningPort(`msg="${plain}"\nmsg="${tls}"\n`), 4002)
  })
})
