import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { findCpuCgroup } from '../../../src/mirror/cpu-cgroup.ts'

function reading(files: Readonly<Record<string, string>>): (path: string) => string {
  return (path) => {
    const text = files[path]
    if (text === undefined) throw new Error(`ENOENT: ${path}`)
    return text
  }
}

const root = '/sys/fs/cgroup'

describe('the control group', () => {
  test('of version 2, in a container of its own namespace', () => {
    const group = findCpuCgroup(
      reading({
        '/proc/self/cgroup': '0::/\n',
        [`${root}/cpu.max`]: '20000 100000\n',
        [`${root}/cpu.stat`]: 'usage_usec 1234567\nuser_usec 1000000\nnr_throttled 3\n',
      }),
    )
    assert.equal(group?.limit(), 0.2)
    assert.equal(group?.usedMs(), 1234.567)
  })

  test('of version 2, without a limit', () => {
    const group = findCpuCgroup(
      reading({
        '/proc/self/cgroup': '0::/kip.slice/kip.scope\n',
        [`${root}/kip.slice/kip.scope/cpu.max`]: 'max 100000\n',
        [`${root}/kip.slice/kip.scope/cpu.stat`]: 'usage_usec 1000\n',
      }),
    )
    assert.equal(group?.limit(), undefined)
    assert.equal(group?.usedMs(), 1)
  })

  const memberships = '5:memory:/a\n2:cpu,cpuacct:/pod/container\n1:name=systemd:/\n0::/\n'

  test('of version 1, by its path', () => {
    const folder = `${root}/cpu,cpuacct/pod/container`
    const group = findCpuCgroup(
      reading({
        '/proc/self/cgroup': memberships,
        [`${folder}/cpu.cfs_quota_us`]: '50000\n',
        [`${folder}/cpu.cfs_period_us`]: '100000\n',
        [`${folder}/cpuacct.usage`]: '2500000000\n',
      }),
    )
    assert.equal(group?.limit(), 0.5)
    assert.equal(group?.usedMs(), 2500)
  })

  test('of version 1, in a container that is told the path on the host', () => {
    const group = findCpuCgroup(
      reading({
        '/proc/self/cgroup': memberships,
        [`${root}/cpu/cpu.cfs_quota_us`]: '-1\n',
        [`${root}/cpu/cpu.cfs_period_us`]: '100000\n',
        [`${root}/cpuacct/cpuacct.usage`]: '1000000\n',
      }),
    )
    assert.equal(group?.limit(), undefined)
    assert.equal(group?.usedMs(), 1)
  })

  test('of version 1 is not to be had where its quota or its use is missing', () => {
    const files: Readonly<Record<string, string>> = {
      '/proc/self/cgroup': '2:cpu:/a\n3:cpuacct:/a\n',
      [`${root}/cpu/a/cpu.cfs_quota_us`]: '50000\n',
      [`${root}/cpuacct/a/cpuacct.usage`]: '1000000\n',
    }
    assert.notEqual(findCpuCgroup(reading(files)), undefined)
    for (const file of Object.keys(files)) {
      const { [file]: _, ...others } = files
      assert.equal(findCpuCgroup(reading(others)), undefined, file)
    }
  })

  test('is not to be had at the root, nor off Linux', () => {
    assert.equal(findCpuCgroup(reading({ '/proc/self/cgroup': '0::/\n' })), undefined)
    assert.equal(findCpuCgroup(reading({})), undefined)
  })
})
