import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ContainerStatus } from '../../../src/kube/types.ts'
import { failureText } from '../../../src/puller/failure-text.ts'
import { type Verdict, verdictOf } from '../../../src/puller/verdict.ts'

const id = 'sha256:0'

describe('verdictOf', () => {
  const waiting = (reason: string): ContainerStatus => ({
    name: 'a',
    state: { waiting: { reason } },
  })
  const cases: readonly (readonly [text: string, ContainerStatus | undefined, Verdict])[] = [
    ['an unreported container', undefined, 'pending'],
    ['one that waits for its turn', waiting('PodInitializing'), 'pending'],
    ['one whose image is being pulled', waiting('ContainerCreating'), 'pending'],
    ['a failed pull', waiting('ErrImagePull'), 'failed'],
    ['a pull in back-off', waiting('ImagePullBackOff'), 'failed'],
    ['a name that is none', waiting('InvalidImageName'), 'failed'],
    ['what the runtime cannot make', waiting('CreateContainerError'), 'unstartable'],
    ['what the runtime cannot start', waiting('RunContainerError'), 'unstartable'],
    ['a running container', { name: 'a', imageID: id, state: { running: {} } }, 'started'],
    ['one that ended well', { name: 'a', state: { terminated: { exitCode: 0 } } }, 'started'],
    [
      'one that could not be executed',
      { name: 'a', imageID: id, state: { terminated: { exitCode: 128, reason: 'StartError' } } },
      'unstartable',
    ],
    [
      'one that a reboot took and that waits to run again',
      {
        name: 'a',
        state: { waiting: { reason: 'PodInitializing' } },
        lastState: { terminated: { exitCode: 255, reason: 'Unknown' } },
      },
      'started',
    ],
    [
      'one that could not be executed and is made anew',
      {
        name: 'a',
        state: { waiting: { reason: 'ContainerCreating' } },
        lastState: { terminated: { exitCode: 128, reason: 'StartError' } },
      },
      'unstartable',
    ],
    [
      'one that crashes and runs for a moment',
      {
        name: 'a',
        imageID: id,
        state: { running: {} },
        lastState: { terminated: { exitCode: 139 } },
      },
      'unstartable',
    ],
    [
      'one that slept its time and is to sleep again',
      {
        name: 'a',
        state: { waiting: { reason: 'CrashLoopBackOff' } },
        lastState: { terminated: { exitCode: 0 } },
      },
      'started',
    ],
    [
      'one that runs again after its image was gone and is asked for',
      { ...waiting('ErrImagePull'), lastState: { terminated: { exitCode: 0 } } },
      'failed',
    ],
  ]
  for (const [text, status, verdict] of cases) {
    it(`takes ${text} for ${verdict}`, () => assert.equal(verdictOf(status), verdict))
  }
})

describe('failureText', () => {
  // As containerd 2 and the kubelet word them.
  const head = 'failed to pull and unpack image "r.test/a:1": failed to resolve image: '
  const cases: readonly (readonly [message: string, text: RegExp])[] = [
    [`rpc error: code = NotFound desc = ${head}r.test/a:1: not found`, /does not have it/],
    [
      `${head}unexpected status from HEAD request to https://r.test/v2/a/manifests/1: 401 Unauthorized`,
      /credentials/,
    ],
    [
      `${head}pull access denied, repository does not exist or may require authorization: server message: insufficient_scope: authorization failed`,
      /denies access/,
    ],
    [`${head}unexpected status code https://r.test/v2/: 429 Too Many Requests`, /limits the rate/],
    [
      `${head}failed to do request: Head "https://r.test/v2/": dial tcp: lookup r.test on 10.0.0.1:53: no such host`,
      /no address/,
    ],
    [
      `${head}failed to do request: Head "https://r.test/v2/": dial tcp 10.0.0.1:443: connect: connection refused`,
      /refuses connections/,
    ],
    [
      `${head}failed to do request: tls: failed to verify certificate: x509: certificate signed by unknown authority`,
      /not trusted/,
    ],
    ['failed to pull and unpack image: no match for platform in manifest: not found', /platform/],
    [`${head}unexpected status from HEAD request: 503 Service Unavailable`, /has a fault/],
    ['write /var/lib/containerd: no space left on device', /disk/],
    ['<script>something new</script>', /^the node cannot pull it$/],
  ]
  for (const [message, text] of cases) {
    it(`says "${text.source}" of "${message.slice(-50)}"`, () => {
      assert.match(failureText('ErrImagePull', message), text)
    })
  }

  it('never repeats what a registry said', () => {
    assert.ok(!failureText('ErrImagePull', 'not found: SECRET').includes('SECRET'))
  })
})
