import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { testImages } from '../cluster/images/catalogue.ts'
import { pushTestImages } from '../cluster/images/fill.ts'
import { tinyImage } from '../cluster/images/tiny.ts'
import { type Cluster, downCluster, reportToStderr, upCluster } from '../cluster/index.ts'
import { sleepProgram } from '../cluster/sleep-program.ts'
import { noNodes } from '../support/cluster.ts'
import { clusterTool, hasStarted, remainsOf, tracesOf } from '../support/cluster-tool.ts'
import { waitUntil } from '../support/wait-until.ts'

const skip = noNodes()
const report = reportToStderr
const START_MS = 90_000

describe('a cluster with nodes', { skip }, () => {
  // Its levers leave marks, so it is not the cluster that other tests share.
  const name = `levers-${process.pid}`
  let cluster: Cluster
  let busybox: string
  before(async () => {
    cluster = await upCluster({ name, nodes: 1, owned: true, report })
    const images = await testImages({ sleepProgram: await sleepProgram({ report }), report })
    const pushed = await pushTestImages(cluster.registries.origin, images, ['busybox'])
    busybox = pushed.busybox ?? assert.fail('busybox was not pushed')
    await startPod('shell', 'n1')
  })
  after(async () => {
    await cluster?.[Symbol.asyncDispose]()
    await downCluster(name, { report })
  })

  const startPod = async (pod: string, node: string) => {
    const overrides = JSON.stringify({ spec: { nodeName: node } })
    const options = [`--image=${busybox}`, '--restart=Never', `--overrides=${overrides}`]
    await cluster.kubectl(['run', pod, ...options, '--', '/bin/sh', '-c', 'sleep 3600'])
    await cluster.kubectl(['wait', '--for=condition=Ready', `pod/${pod}`, '--timeout=60s'])
  }
  const inPod = (script: string, pod = 'shell') =>
    cluster.kubectl(['exec', pod, '--', '/bin/sh', '-c', script])
  const nodeStatus = async (node: string) => {
    const path = 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'
    return await cluster.kubectl(['get', 'node', node, '-o', path])
  }

  it('shows pods the registries by name, and the API server by its Service', async () => {
    assert.equal(await inPod('wget -qO- http://plain.test:5002/v2/'), '{}')
    const reached = await inPod('echo | nc -w 5 $KUBERNETES_SERVICE_HOST 443 && echo reached')
    assert.match(reached, /reached/)
  })

  it('keeps logs of pods', async () => {
    const options = [`--image=${busybox}`, '--restart=Never']
    await cluster.kubectl(['run', 'talker', ...options, '--', '/bin/sh', '-c', 'echo hello'])
    const succeeded = '--for=jsonpath={.status.phase}=Succeeded'
    await cluster.kubectl(['wait', succeeded, 'pod/talker', '--timeout=60s'])
    assert.equal((await cluster.kubectl(['logs', 'talker'])).trim(), 'hello')
  })

  it('lists and removes what a node holds', async () => {
    const image = await cluster.registries.origin.push(tinyImage(7), 'tiny', '7')
    const reference = image.replace(/@.*/, '')
    await cluster.pullImages('n1', [reference])
    assert.ok((await cluster.imagesOn('n1')).includes(reference))
    await cluster.removeImages('n1', [reference])
    assert.ok(!(await cluster.imagesOn('n1')).includes(reference))
    assert.ok((await cluster.imagesOn('n1')).includes('kip.test/pause:1'))
  })

  it('cuts one place off from one registry, and mends it', async () => {
    const ask = 'wget -qO- http://plain.test:5002/v2/'
    const address = await cluster.kubectl(['get', 'pod', 'shell', '-o', 'jsonpath={.status.podIP}'])
    for (const options of [{}, { pod: address }]) {
      await cluster.cut('n1', 'plain', options)
      await assert.rejects(inPod(ask), /No route to host/)
      await cluster.mend('n1', 'plain', options)
      assert.equal(await inPod(ask), '{}')
    }
  })

  it('stops and starts the API server', async () => {
    await cluster.stopApiServer()
    await assert.rejects(cluster.kubectl(['get', 'nodes', '--request-timeout=5s']))
    await cluster.startApiServer()
    assert.match(await cluster.kubectl(['get', 'nodes']), /^n1 /m)
  })

  it('stops and starts a kubelet', async () => {
    await cluster.stopKubelet('n1')
    await assert.rejects(cluster.kubectl(['exec', 'shell', '--', '/bin/sh', '-c', 'true']))
    await cluster.startKubelet('n1')
    // A new kubelet is ready before it knows its pods.
    const back = () => inPod('echo back').catch(() => undefined)
    assert.equal((await waitUntil('the pod is known again', back, START_MS)).trim(), 'back')
  })

  it('adds an empty node with a disk of its own, kills it and gives it power again', async () => {
    const added = await cluster.addNode({ diskMib: 512 })
    assert.deepEqual(await cluster.imagesOn(added.name), ['kip.test/pause:1'])
    await startPod('second', added.name)
    await cluster.fillDisk(added.name, 100)
    assert.ok(Math.abs((await cluster.disk(added.name)).freeMib - 100) < 8)
    await cluster.fillDisk(added.name)
    assert.ok((await cluster.disk(added.name)).freeMib > 300)
    // Pods of two nodes reach each other through the control plane.
    const address = await cluster.kubectl([
      ...['get', 'pod', 'second', '-o', 'jsonpath={.status.podIP}'],
    ])
    await inPod(`ping -c 1 -W 5 ${address}`)
    await cluster.killNode(added.name)
    await assert.rejects(cluster.imagesOn(added.name), /node-n2 is not running/)
    await cluster.reviveNode(added.name)
    assert.equal(await nodeStatus(added.name), 'True')
    assert.ok((await cluster.imagesOn(added.name)).includes(busybox))
    await cluster.configureNode(added.name, { kubelet: { maxPods: 17 } })
    const maximum = ['get', 'node', added.name, '-o', 'jsonpath={.status.capacity.pods}']
    assert.equal(await cluster.kubectl(maximum), '17')
    assert.deepEqual(await cluster.imagesOn(added.name), ['kip.test/pause:1'])
    await cluster.removeNode(added.name)
    assert.doesNotMatch(await cluster.kubectl(['get', 'nodes']), /^n2 /m)
  })
})

describe('the tool, with nodes', { skip }, () => {
  it('leaves nothing of two clusters side by side', async () => {
    const tool = await clusterTool()
    const run = (...args: string[]) => tool.start(args).ended
    try {
      const names = ['left', 'right']
      const ups = await Promise.all(names.map((name) => run('up', '--nodes', '1', '--name', name)))
      for (const { code, stderr } of ups) assert.equal(code, 0, stderr)
      const traces = names.map((name) => tracesOf(tool.folder(name)))
      for (const { networks, processes } of traces) {
        assert.equal(networks.length, 2)
        assert.ok(processes.length > 10)
      }
      const hosts = await run('exec', '--name', 'left', '--', 'cat', '/etc/hosts')
      assert.match(hosts.stdout, / origin\.test$/m)
      for (const name of names) assert.equal((await run('down', '--name', name)).code, 0)
      assert.deepEqual(traces.flatMap(remainsOf), [])
    } finally {
      await tool.remove()
    }
  })

  it('is removed by the next one when it was killed while nodes started', async () => {
    const tool = await clusterTool()
    try {
      const up = tool.start(['up', '--nodes', '2', '--name', 'killed'])
      const starting = () => hasStarted(tool.folder('killed'), 'kubelet-n1')
      await waitUntil('a kubelet is starting', starting, START_MS)
      up.kill('SIGKILL')
      await up.ended
      const traces = tracesOf(tool.folder('killed'))
      assert.notDeepEqual(remainsOf(traces), [])
      const { code, stderr } = await tool.start(['status']).ended
      assert.equal(code, 0)
      assert.match(stderr, /^cluster killed is a leftover \(process \d+, .*: removing it$/m)
      assert.deepEqual(remainsOf(traces), [])
    } finally {
      await tool.remove()
    }
  })
})
