import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { ContainerStatus, Pod } from '../../../src/kube/types.ts'
import { isNamed } from '../../../src/puller/strategies/image-naming.ts'
import { volume, volumeBeside } from '../../../src/puller/strategies/volume.ts'

const sleepImage = 'kip.test/sleep:1'
const members = [
  { container: 'a', reference: 'r.test/a:1' },
  { container: 'b', reference: 'r.test/a:1-slim' },
]
const resources = { cpuRequest: '', cpuLimit: '', memoryRequest: '', memoryLimit: '' }

function pod(strategy: typeof volume, ...containerStatuses: readonly ContainerStatus[]): Pod {
  return {
    spec: strategy.layout({ members, sleepImage, resources }),
    status: { phase: 'Pending', containerStatuses },
  }
}

const waiting = (name: string, reason: string, message = ''): ContainerStatus => ({
  name,
  state: { waiting: { reason, message } },
})

describe('what a pod of image volumes says', () => {
  it('is nothing until its holder runs, and then that it has all that its own spec mounts', () => {
    assert.deepEqual(volume.report(pod(volume, waiting('holder', 'ContainerCreating'))).verdicts, [
      'pending',
      'pending',
    ])
    const running = pod(volume, { name: 'holder', state: { running: {} } })
    assert.deepEqual(volume.report(running).verdicts, ['started', 'started'])
    // What a server that knows no image volumes makes of them.
    const volumes = (running.spec?.volumes ?? []).map(({ name }) => ({ name, emptyDir: {} }))
    assert.deepEqual(volume.report({ ...running, spec: { ...running.spec, volumes } }).images, [])
  })

  it('blames the image that the kubelet names, and no namesake', () => {
    const message = 'Back-off pulling image "r.test/a:1-slim": ErrImagePull: not found'
    const report = volume.report(pod(volume, waiting('holder', 'ImagePullBackOff', message)))
    assert.deepEqual(report.verdicts, ['pending', 'failed'])
    assert.deepEqual([...report.failures.keys()], [1])
    assert.equal(report.blocked, undefined)
  })

  it('blames the image that a holder has alone, whatever the words', () => {
    const { verdicts } = volumeBeside.report(
      pod(
        volumeBeside,
        { name: 'a', state: { running: {} } },
        waiting('b', 'ErrImagePull', 'pull QPS exceeded'),
      ),
    )
    assert.deepEqual(verdicts, ['started', 'failed'])
  })

  it('is that it cannot begin when its own image is the trouble', () => {
    const message = `failed to pull and unpack image "${sleepImage}": not found`
    for (const strategy of [volume, volumeBeside]) {
      const name = strategy === volume ? 'holder' : 'a'
      const report = strategy.report(pod(strategy, waiting(name, 'ErrImagePull', message)))
      assert.deepEqual(report.verdicts, ['pending', 'pending'])
      assert.equal(report.blocked?.reason, 'ErrImagePull')
    }
  })

  it('is a failure where the runtime mounts an image that it pulled not', () => {
    const report = volumeBeside.report(pod(volumeBeside, waiting('a', 'CreateContainerError')))
    assert.deepEqual(report.verdicts, ['failed', 'pending'])
  })
})

describe('isNamed', () => {
  for (const [message, named] of [
    ['failed to pull and unpack image "r.test/a:1": not found', true],
    ['initializing source docker://r.test/a:1: reading manifest', true],
    ['r.test/a:1', true],
    ['r.test/a:1.', true],
    ['"r.test/a:1.2"', false],
    ['"r.test/a:1@sha256:0"', false],
    ['"mirror.test/r.test/a:12"', false],
    ['', false],
  ] as const) {
    it(`${message || 'nothing'}: ${named}`, () => {
      assert.equal(isNamed(message, 'r.test/a:1'), named)
    })
  }
})
