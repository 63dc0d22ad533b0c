import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { apiServerArguments, controlPlaneFiles } from '../../cluster/control-plane/arguments.ts'
import { cutRules } from '../../cluster/cut.ts'
import { isRecentGo } from '../../cluster/go.ts'
import { kubeconfig } from '../../cluster/kubeconfig.ts'
import { enterNamespaces } from '../../cluster/namespaces.ts'
import { cniConfig, containerdConfig, kubeletConfig } from '../../cluster/node/configuration.ts'
import { parseDiskUse } from '../../cluster/node/disk.ts'
import { parseNodeSettings } from '../../cluster/node/settings.ts'
import { notInstalled } from '../../cluster/packages.ts'
import { nodePlan, pickAddresses } from '../../cluster/plan.ts'
import { progressLine } from '../../cluster/progress.ts'
import { kubernetesVersion } from '../../cluster/versions.ts'
import { parseSample } from '../../support/hold-watch.ts'

const withNodes = pickAddresses({ level: 'nodes', routes: [], taken: [] }) ?? assert.fail()
const alone = pickAddresses({ level: 'control-plane', routes: [], taken: [] }) ?? assert.fail()
const ports = { api: 6443, etcd: 2379, etcdPeer: 2380 }

describe('the configuration of a cluster', () => {
  it('keeps an API server without nodes on loopback', () => {
    const files = controlPlaneFiles('/c')
    const loopback = apiServerArguments({ addresses: alone, ports }, files)
    assert.ok(loopback.includes('--bind-address=127.0.0.1'))
    assert.ok(loopback.includes('--endpoint-reconciler-type=none'))
    const reachable = apiServerArguments({ addresses: withNodes, ports }, files)
    assert.ok(reachable.includes('--bind-address=0.0.0.0'))
    assert.ok(reachable.includes('--advertise-address=10.96.0.1'))
    assert.ok(reachable.includes('--enable-aggregator-routing=true'))
  })

  it('keeps a node’s images and registries where the node’s files are', () => {
    const config = containerdConfig('/c/nodes/n1')
    assert.match(config, /config_path = "\/c\/nodes\/n1\/certs.d"/)
    assert.match(config, /conf_dir = "\/c\/nodes\/n1\/cni"/)
    assert.match(config, /sandbox = "kip.test\/pause:1"/)
    assert.doesNotMatch(config, /max_concurrent_downloads/)
    assert.match(containerdConfig('/c/nodes/n1', 30), /^ {2}max_concurrent_downloads = 30$/m)
  })

  it('gives pods the addresses that the control plane routes to their node', () => {
    const config = JSON.parse(cniConfig(nodePlan(withNodes, 2)))
    assert.deepEqual(config.plugins[0].ipam.ranges, [[{ subnet: '10.96.12.0/24' }]])
  })

  it('has pods ask the cluster’s name server, and a cgroup of the node’s own', () => {
    const cgroup = '/kip-0-n1'
    const config = JSON.parse(
      kubeletConfig({ addresses: withNodes, authorityFile: '/ca.crt', cgroup }),
    )
    assert.deepEqual(config.clusterDNS, ['10.96.0.1'])
    assert.equal(config.cgroupRoot, cgroup)
    assert.equal(config.failCgroupV1, false)
  })

  it('takes settings of a node in JSON, and says which of them is wrong', () => {
    const text = '{"diskMib":1024,"downloads":6,"kubelet":{"maxParallelImagePulls":6}}'
    assert.deepEqual(parseNodeSettings(text), JSON.parse(text))
    for (const [wrong, said] of [
      ['', /"" is no JSON/],
      ['[]', /\[\] is no object/],
      ['{"diskMib":"1G"}', /diskMib cannot be "1G"/],
      ['{"downloads":0}', /downloads cannot be 0/],
      ['{"kubelet":6}', /kubelet cannot be 6/],
      ['{"memory":6}', /memory cannot be 6/],
    ] as const)
      assert.throws(() => parseNodeSettings(wrong), said)
  })

  it('lets a kubeconfig stand on its own', () => {
    const text = kubeconfig({
      cluster: 'kip-a',
      server: 'https://127.0.0.1:6443',
      authority: 'ca',
      identity: { certificate: 'cert', key: 'key' },
    })
    const { clusters, users, 'current-context': current } = JSON.parse(text)
    assert.equal(current, 'kip-a')
    assert.equal(clusters[0].cluster['certificate-authority-data'], btoa('ca'))
    assert.equal(users[0].user['client-key-data'], btoa('key'))
  })
})

describe('a disk of a node', () => {
  it('is as large and as free as df says', () => {
    const printed = '  1B-blocks      Avail\n1048576000  524288000\n'
    assert.deepEqual(parseDiskUse(printed), { sizeMib: 1000, freeMib: 500 })
  })
})

describe('a look at what is held on a node', () => {
  const [one, two, three] = ['a', 'b', 'c'].map((digit) => digit.repeat(64))
  const sample = `REF TYPE DIGEST SIZE PLATFORMS LABELS
origin.test:5000/a:1 application/json sha256:${one} 850.0 B linux/amd64 -
sha256:${three} application/json sha256:${two} 850.0 B linux/amd64 -
CONTAINER IMAGE RUNTIME
${three} origin.test:5000/a:1 io.containerd.runc.v2
${two} origin.test:5000/gone:1 io.containerd.runc.v2
 /run/containerd/io.containerd.grpc.v1.cri/image-volumes/${three}/${two}`.split('\n')

  it('finds what containers were made of by its digest, and what is mounted', () => {
    const { present, held } = parseSample(sample)
    assert.deepEqual([...present], [`sha256:${one}`, `sha256:${two}`])
    assert.deepEqual([...held], [`sha256:${one}`, 'origin.test:5000/gone:1', `sha256:${two}`])
  })
})

describe('a cut', () => {
  it('stops what passes through a node and what begins there', () => {
    const chains = cutRules({ address: '10.96.0.3' }, 'silent').map((rule) => rule.join(' '))
    assert.deepEqual(chains, ['FORWARD -d 10.96.0.3 -j DROP', 'OUTPUT -d 10.96.0.3 -j DROP'])
  })

  it('of one pod leaves the others and the node alone', () => {
    const rules = cutRules({ address: '10.96.0.3', source: '10.96.11.2' }, 'unreachable')
    assert.ok(rules.every((rule) => rule[0] === 'FORWARD' && rule.includes('10.96.11.2')))
  })

  it('answers new connections before it resets those that are open', () => {
    // Each rule is put at the head, so the last one is asked first.
    const last = cutRules({ address: '10.96.0.3' }, 'unreachable').at(-1)?.join(' ')
    assert.match(last ?? '', /--syn -j REJECT --reject-with icmp-host-unreachable$/)
  })
})

describe('the tool around it', () => {
  it('builds the pinned Kubernetes, by minor or release, and no other', () => {
    const { minor, release } = kubernetesVersion()
    assert.equal(kubernetesVersion(minor).release, release)
    assert.equal(kubernetesVersion(`v${release}`).release, release)
    for (const wanted of ['1.2', `${minor}.999`, 'latest'])
      assert.throws(() => kubernetesVersion(wanted), /KIP_KUBE_VERSION: .* is not pinned/, wanted)
  })

  it('knows a Go that is too old', () => {
    assert.equal(isRecentGo('go1.26.8'), true)
    assert.equal(isRecentGo('go1.27rc1'), true)
    assert.equal(isRecentGo('go2.0'), true)
    assert.equal(isRecentGo('go1.25.9'), false)
    assert.equal(isRecentGo('devel'), false)
  })

  it('installs what dpkg does not call installed', () => {
    const listing = 'runc installed\nconntrack not-installed\niptables config-files\n'
    const wanted = ['runc', 'conntrack', 'iptables', 'unknown']
    assert.deepEqual(notInstalled(wanted, listing), ['conntrack', 'iptables', 'unknown'])
  })

  it('says how long a step goes on and how long it will', () => {
    const line = progressLine({ step: 'building', expectedSeconds: 420 }, 61.4)
    assert.equal(line, 'building … 1 min 1 s of about 7 min')
  })

  it('runs a command in the namespaces of a process', () => {
    const start = enterNamespaces(7, ['net', 'mount'], { folder: '/w' })
    assert.deepEqual(start, ['nsenter', '--target=7', '--net', '--mount', '--wdns=/w', '--'])
  })
})
