import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { reportToStderr } from '../../cluster/index.ts'
import { kubernetesPrograms } from '../../cluster/programs.ts'
import { kubernetesVersion } from '../../cluster/versions.ts'
import {
  type ClusterTool,
  clusterTool,
  hasStarted,
  remainsOf,
  tracesOf,
} from '../../support/cluster-tool.ts'
import { waitUntil } from '../../support/wait-until.ts'

const START_MS = 60_000

describe('the tool of test clusters', () => {
  let tool: ClusterTool
  let programs: string
  before(async () => {
    programs = await kubernetesPrograms(kubernetesVersion(), { report: reportToStderr })
    tool = await clusterTool()
  })
  after(() => tool.remove())

  const run = (...args: string[]) => tool.start(args).ended
  const folders = () => readdir(join(tool.home, 'kip', 'clusters'))
  /** Starts `up` and waits until it has come as far as the API server. */
  const halfWayUp = async (name: string) => {
    const up = tool.start(['up', '--nodes', '0', '--name', name])
    const folder = tool.folder(name)
    const starting = () => hasStarted(folder, 'kube-apiserver')
    await waitUntil('an API server is starting', starting, START_MS)
    return { up, traces: tracesOf(folder) }
  }

  it('runs two clusters side by side, and leaves nothing of either', async () => {
    const [left, right] = await Promise.all([
      run('up', '--nodes', '0', '--name', 'left'),
      run('up', '--nodes', '0', '--name', 'right'),
    ])
    assert.equal(left.code, 0, left.stderr)
    assert.equal(right.code, 0, right.stderr)
    const traces = [tracesOf(tool.folder('left')), tracesOf(tool.folder('right'))]
    try {
      await run('kubectl', '--name', 'left', 'create', 'namespace', 'only-left')
      const there = await run('kubectl', '--name', 'left', 'get', 'namespaces', '-o', 'name')
      const other = await run('kubectl', '--name', 'right', 'get', 'namespaces', '-o', 'name')
      assert.match(there.stdout, /^namespace\/only-left$/m)
      assert.match(other.stdout, /^namespace\/default$/m)
      assert.doesNotMatch(other.stdout, /only-left/)
      const version = await run('exec', '--name', 'right', '--', 'kubectl', 'version')
      assert.match(version.stdout, new RegExp(`Server Version: v${kubernetesVersion().release}`))
      const again = await run('up', '--nodes', '0', '--name', 'left')
      assert.equal(again.code, 2)
      assert.match(again.stderr, /^cluster left is there already; .* takes it down$/m)
    } finally {
      for (const name of ['left', 'right']) await run('down', '--name', name)
    }
    assert.deepEqual(traces.flatMap(remainsOf), [])
    assert.deepEqual(await folders(), [])
  })

  it('takes everything down when Ctrl-C comes while it starts, and comes twice', async () => {
    const { up, traces } = await halfWayUp('interrupted')
    up.kill('SIGINT')
    up.kill('SIGINT')
    const { code, stderr } = await up.ended
    assert.equal(code, 1)
    assert.match(stderr, /^stopped by SIGINT$/m)
    assert.deepEqual(remainsOf(traces), [])
    assert.deepEqual(await folders(), [])
  })

  it('finds what a killed one left, says so and removes it', async () => {
    const { up, traces } = await halfWayUp('killed')
    up.kill('SIGKILL')
    await up.ended
    assert.notDeepEqual(remainsOf(traces), [], 'nothing was left to find')
    const { code, stderr } = await run('down', '--name', 'killed')
    assert.equal(code, 0)
    const reason = `process ${up.pid}, which it belonged to, is gone while it was starting`
    assert.ok(stderr.includes(`cluster killed is a leftover (${reason}): removing it`), stderr)
    assert.deepEqual(remainsOf(traces), [])
    assert.deepEqual(await folders(), [])
  })

  it('shows the end of the log of a component that does not start', async () => {
    const cache = await mkdtemp(join(tmpdir(), 'kip-cache-'))
    try {
      const broken = join(cache, 'kip', basename(programs))
      await mkdir(broken, { recursive: true })
      for (const part of await readdir(programs)) {
        if (part !== 'kube-apiserver') await symlink(join(programs, part), join(broken, part))
      }
      const script = '#!/bin/sh\nfor n in $(seq 1 50); do echo "line $n"; done\nexit 3\n'
      await writeFile(join(broken, 'kube-apiserver'), script, { mode: 0o755 })
      const args = ['up', '--nodes', '0', '--name', 'broken']
      const { code, stderr } = await tool.start(args, { XDG_CACHE_HOME: cache }).ended
      assert.equal(code, 1)
      assert.match(stderr, /kube-apiserver ended .*; the end of .*kube-apiserver\.log:\nline 11\n/)
      assert.match(stderr, /^line 50$/m)
      assert.doesNotMatch(stderr, /^line 10$/m)
      assert.deepEqual(await folders(), [])
    } finally {
      await rm(cache, { recursive: true, force: true })
    }
  })

  it('says in one line what is wrong with a command', async () => {
    const cases = [
      [['up', '--nodes', 'two'], 2, /^--nodes two: a number from 0 to 99$/m],
      [['up', '--name', 'No'], 2, /^"No" is no cluster name: /m],
      [['kubectl', 'get', 'pods'], 2, /^there is no cluster kip; .* brings one up$/m],
      [['down', '--name', 'none'], 0, /^there is no cluster none$/m],
      [['up', '--knots', '2'], 2, /Unknown option '--knots'/],
      [['upp'], 2, /^usage: /m],
    ] as const
    for (const [args, expected, words] of cases) {
      const { code, stderr } = await run(...args)
      assert.match(stderr, words, args.join(' '))
      assert.equal(code, expected, `${args.join(' ')}: ${stderr}`)
      assert.doesNotMatch(stderr, /^ {4}at /m)
    }
  })
})
