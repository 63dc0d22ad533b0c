import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, beforeEach, describe, test } from 'node:test'
import { UsageError } from '../../../src/cli/errors.ts'
import { parseWhyArguments, whyUsage } from '../../../src/cli/why/arguments.ts'
import type { WhyReport } from '../../../src/cli/why/report.ts'
import { why } from '../../../src/cli/why.ts'
import type { Condition } from '../../../src/state/cached-image.ts'
import { objectName } from '../../../src/state/naming.ts'
import { type FakeKube, type FakeObject, startFakeKube } from '../../support/fake-kube.ts'
import { kubeconfigOf } from '../../support/kubeconfig.ts'
import { digestOf } from '../../support/pods.ts'

const namespace = 'k8s-image-puller'
const core = (plural: string, namespace?: string) => ({
  ...{ group: '', version: 'v1', plural },
  ...(namespace !== undefined && { namespace }),
})
const apps = (plural: string, namespace: string) => ({
  ...{ group: 'apps', version: 'v1', plural, namespace },
})
const cachedImages = { group: 'images.kip', version: 'v1alpha1', plural: 'cachedimages' }
const digest = digestOf('a')
const nginx = 'docker.io/library/nginx:1'
const copy = 'backup.test/docker.io/library/nginx:1'
const pulled = { desired: 3, cached: 3, pulling: 0, failed: 0, failures: [] }

let kube: FakeKube
let folder: string
let kubeconfig: string

before(async () => {
  folder = await mkdtemp(join(tmpdir(), 'kip-why-'))
  kubeconfig = join(folder, 'kubeconfig')
})
after(() => rm(folder, { recursive: true }))
beforeEach(async () => {
  kube = await startFakeKube()
  await writeFile(kubeconfig, kubeconfigOf(kube))
  deploy({ KIP_MIRROR_REGISTRY: 'backup.test' })
  put(core('namespaces'), { metadata: { name: 'shop' } })
})
afterEach(() => kube.stop())

function put(resource: Parameters<FakeKube['put']>[0], object: object): void {
  kube.put(resource, object as FakeObject)
}

/** Kip's Deployment and ConfigMap. */
function deploy(data: Readonly<Record<string, string>>, container: object = {}): void {
  const envFrom = [{ configMapRef: { name: 'settings' } }]
  const spec = { template: { spec: { containers: [{ name: 'kip', envFrom, ...container }] } } }
  const metadata = { name: 'kubernetes-image-puller', namespace }
  put(apps('deployments', namespace), { metadata, spec })
  put(core('configmaps', namespace), { metadata: { name: 'settings', namespace }, data })
}

function condition(type: Condition['type'], status: Condition['status'], reason: string): object {
  return { type, status, reason, message: 'so it is', lastTransitionTime: '2027-01-01T00:00:00Z' }
}

/** An image in use that is all well, with what is otherwise. */
function know(status: object = {}, name: string = objectName(nginx)): void {
  const owners = [{ kind: 'Deployment', namespace: 'shop', name: 'web' }]
  const counts = { pods: 2, workloads: 1, namespaces: 1 }
  put(cachedImages, {
    metadata: { name, labels: { 'app.kubernetes.io/managed-by': 'kip' } },
    spec: { reference: nginx },
    status: {
      usage: { wanted: ['InUse'], ...counts, owners, firstSeen: '2027-01-01T00:00:00Z' },
      source: { state: 'Available', digest, checkedAt: '2027-01-01T00:00:00Z' },
      mirrors: [{ registry: 'backup.test', reference: copy, state: 'Verified', digest }],
      nodes: pulled,
      conditions: [
        condition('Resolved', 'True', 'Available'),
        condition('Mirrored', 'True', 'Verified'),
        condition('Cached', 'True', 'OnEveryNode'),
      ],
      ...status,
    },
  })
}

/** A pod of a Deployment, in the namespace shop. */
function run(image: string, annotations: Readonly<Record<string, string>> = {}): void {
  const owned = (kind: string, name: string): object => ({
    ownerReferences: [{ apiVersion: 'apps/v1', kind, name, uid: name, controller: true }],
  })
  put(apps('replicasets', 'shop'), {
    metadata: { name: 'web-1', namespace: 'shop', ...owned('Deployment', 'web') },
  })
  put(apps('deployments', 'shop'), { metadata: { name: 'web', namespace: 'shop' } })
  put(core('pods', 'shop'), {
    metadata: { name: 'web-1-x', namespace: 'shop', annotations, ...owned('ReplicaSet', 'web-1') },
    spec: { containers: [{ name: 'web', image }] },
  })
}

async function ask(...argv: readonly string[]) {
  return await askUntil(new AbortController().signal, ...argv)
}

async function askUntil(signal: AbortSignal, ...argv: readonly string[]) {
  const printed: string[] = []
  const complaints: string[] = []
  const code = await why({
    argv: [...argv, '--kubeconfig', kubeconfig],
    env: {},
    readFile: () => assert.fail('no file is read'),
    readInput: () => assert.fail('no input is read'),
    print: (text) => printed.push(text),
    complain: (text) => complaints.push(text),
    program: '',
    version: '1',
    onCrash: () => assert.fail('nothing is left uncaught'),
    signal,
  })
  return { code, text: printed.join('\n'), complaints: complaints.join('\n') }
}

async function report(subject: string): Promise<WhyReport & { readonly code: number }> {
  const { code, text, complaints } = await ask(subject, '--output', 'json')
  assert.equal(complaints, '')
  return { code, ...JSON.parse(text) }
}

describe('kip why IMAGE', () => {
  test('tells what stands for it, who uses it, where it is, and what new pods start from', async () => {
    know()
    const { code, text } = await ask('nginx:1')
    assert.equal(code, 0, text)
    assert.deepEqual(text.split('\n'), [
      `settings of deployment ${namespace}/kubernetes-image-puller`,
      '',
      nginx,
      `  object    ${objectName(nginx)}`,
      '  wanted    InUse',
      '  used by   2 pods and 1 workload in 1 namespace: shop/Deployment/web',
      '  Cached    True: OnEveryNode: so it is',
      '  Mirrored  True: Verified: so it is',
      '  Resolved  True: Available: so it is',
      '  copying   Mirror: the image is copied to the backup registry',
      '  holding   CacheBackup: the nodes cache the verified copy',
      `            as ${copy}@${digest}`,
      `            as ${nginx}`,
      '  new pods  in shop: Rewritten: the pod is pointed at the verified copy',
      `            at ${copy}@${digest}`,
    ])
  })

  test('says once for each reason what to do', async () => {
    const failures = [{ node: 'n1', reason: 'ErrImagePull', message: 'no such host' }]
    know({
      source: { state: 'NeedsCredentials', checkedAt: '2027-01-01T00:00:00Z' },
      mirrors: [],
      nodes: { ...pulled, cached: 2, failed: 1, failures },
      conditions: [
        condition('Resolved', 'False', 'NeedsCredentials'),
        condition('Cached', 'False', 'ErrImagePull'),
      ],
    })
    const { code, text } = await ask(nginx)
    assert.equal(code, 1)
    assert.equal(text.split('-> Nodes hold it with the pull secrets').length, 2, text)
    assert.match(text, /puller\.privateImages` \(docs\/puller\.md#private-images\) says so/)
    assert.match(text, /^ {12}n1: ErrImagePull: no such host$/m)
    const lacks = 'Cached: ErrImagePull, Resolved: NeedsCredentials, NeedsCredentials'
    assert.match(text, new RegExp(`^  LACKS     ${lacks}$`, 'm'))
  })

  test('finds what somebody made by hand, and a copy as what it is a copy of', async () => {
    know({}, 'by-hand')
    for (const asked of ['nginx:1', copy, `${copy}@${digest}`]) {
      const { images } = await report(asked)
      assert.deepEqual([images[0]?.object, images[0]?.reference], ['by-hand', nginx])
    }
  })

  test('of an image that is not known says so, and what may leave it out', async () => {
    const { code, text } = await ask('nginx:2')
    assert.equal(code, 1)
    assert.match(text, /object {4}there is no CachedImage for it/)
    assert.match(text, /-> .*`discovery\.exclude`/)
  })

  test('misses nothing of an image that discovery is told to leave out', async () => {
    deploy({ KIP_MIRROR_REGISTRY: 'backup.test', KIP_DISCOVERY_EXCLUDE: '["docker.io/**"]' })
    const { code, images } = await report('nginx:1')
    assert.deepEqual([code, images[0]?.lacks, images[0]?.object], [0, [], undefined])
    assert.equal((await report('quay.test/nginx:1')).code, 1)
  })

  test('goes by the rules for the namespaces of its users, as the webhook does', async () => {
    const rules = [{ namespaces: ['shop'], rewrite: 'never' }]
    const secretRef = { valueFrom: { secretKeyRef: { name: 'x', key: 'y' } } }
    deploy(
      {
        KIP_ADMISSION_RULES: JSON.stringify(rules),
        KIP_REGISTRIES_CA_FILE: '/etc/kip/ca.crt',
        KIP_MIRROR_USER: 'me',
      },
      {
        args: ['run', '--mirror.registry=backup.test'],
        env: [{ name: 'KIP_MIRROR_PASSWORD', ...secretRef }],
      },
    )
    know()
    const { code, images } = await report(nginx)
    assert.deepEqual(
      images[0]?.newPods.map(({ code, namespaces }) => [code, namespaces]),
      [['RewriteNever', ['shop']]],
    )
    // Somebody wants it so.
    assert.equal(code, 0)
  })

  test('asks for the pull secret of copies by its metadata alone', async () => {
    deploy({ KIP_MIRROR_REGISTRY: 'backup.test', KIP_MIRROR_PULL_SECRET: 'opens' })
    know()
    assert.deepEqual((await report(nginx)).images[0]?.lacks, ['NoPullSecret'])
    const secret = { name: 'opens', namespace: 'shop' }
    put(core('secrets', 'shop'), { metadata: secret })
    assert.deepEqual((await report(nginx)).images[0]?.lacks, [])
    const asked = kube.requests.filter(({ path }) => path.includes('/secrets'))
    assert.equal(asked.length, 2)
    for (const { headers } of asked) {
      assert.match(headers.accept ?? '', /as=PartialObjectMetadataList/)
    }
  })

  test("misses no pull secret by kip's own rights, which are to list that one name", async () => {
    deploy({ KIP_MIRROR_REGISTRY: 'backup.test', KIP_MIRROR_PULL_SECRET: 'opens' })
    know()
    put(core('secrets', 'shop'), { metadata: { name: 'other', namespace: 'shop' } })
    kube.fault = ({ path, query }) =>
      path.includes('/secrets') && query.fieldSelector !== 'metadata.name=opens'
        ? { status: 403, reason: 'Forbidden' }
        : undefined
    const { images, notes } = await report(nginx)
    assert.deepEqual([images[0]?.lacks, notes], [['NoPullSecret'], []])
  })

  test('reads single variables out of ConfigMaps, and takes none of those that others win over', async () => {
    const from = (name: string, source: object) => ({ name, valueFrom: source })
    const keyRef = { name: 'more', key: 'backup' }
    put(core('configmaps', namespace), {
      metadata: { name: 'more', namespace },
      data: { backup: 'backup.test' },
    })
    deploy(
      { KIP_MIRROR_REGISTRY: 'old.test', KIP_MIRROR_PULL_SECRET: 'old' },
      {
        env: [
          from('KIP_MIRROR_REGISTRY', { configMapKeyRef: keyRef }),
          from('KIP_MIRROR_PULL_SECRET', { secretKeyRef: keyRef }),
        ],
      },
    )
    know()
    const { images } = await report(nginx)
    assert.equal(images[0]?.newPods[0]?.copy, `${copy}@${digest}`)
  })

  test('says what the caller may not read', async () => {
    know()
    kube.fault = ({ path }) =>
      path.endsWith('/namespaces/shop') ? { status: 403, reason: 'Forbidden' } : undefined
    const { code, text } = await ask(nginx)
    assert.equal(code, 0, text)
    assert.match(text, /^note: you may not read namespaces shop/m)
  })

  test('of what another puller holds tells by its pull secrets and its list, and misses no word of nodes', async () => {
    deploy({ KIP_MIRROR_REGISTRY: 'backup.test', PULLER: 'external', KIP_MIRROR_PULL_SECRET: 'x' })
    put(core('secrets', 'shop'), { metadata: { name: 'x', namespace: 'shop' } })
    const theirs = { name: 'k8s-image-puller', namespace }
    put(core('configmaps', namespace), { metadata: theirs, data: { IMAGES: 'a=a:1' } })
    const stale = condition('Cached', 'False', 'ErrImagePull')
    know({ nodes: undefined, conditions: [condition('Mirrored', 'True', 'Verified'), stale] })
    const { code, images } = await report(nginx)
    assert.deepEqual([code, images[0]?.lacks], [0, []])
    // Best-effort names are left out of its list.
    assert.deepEqual(images[0]?.cache?.references, [`${copy}@${digest}`])

    const source = { state: 'Unreachable', checkedAt: '2027-01-01T00:00:00Z' }
    know({ nodes: undefined, source, mirrors: [], conditions: [] })
    const codeOf = async () => (await report(nginx)).images[0]?.cache?.code
    assert.equal(await codeOf(), 'CacheSource')
    put(core('configmaps', namespace), { metadata: theirs, data: { IMAGE_PULL_SECRETS: 'corp' } })
    assert.equal(await codeOf(), 'MaybePrivate')
  })

  test('says that nobody tells another puller where its ConfigMap is not there', async () => {
    deploy({ PULLER: 'external' })
    know()
    assert.match((await ask(nginx)).text, /^note: there is no ConfigMap k8s-image-puller\/k8s-im/m)
  })

  test('takes no old word of a part that is off for a lack', async () => {
    deploy({ KIP_PULLER_ENABLED: 'false' })
    const old = [condition('Mirrored', 'False', 'Denied'), condition('Cached', 'False', 'NoRoom')]
    know({ conditions: old })
    assert.deepEqual((await report(nginx)).images[0]?.lacks, [])
  })

  test('knows kube-system to be excluded without reading it', async () => {
    const owners = [{ kind: 'DaemonSet', namespace: 'kube-system', name: 'proxy' }]
    const counts = { pods: 2, workloads: 1, namespaces: 1 }
    know({ usage: { wanted: ['Listed'], ...counts, owners, firstSeen: '2027-01-01T00:00:00Z' } })
    kube.fault = ({ path }) =>
      path.endsWith('/namespaces/kube-system') ? { status: 403, reason: 'Forbidden' } : undefined
    const { images, notes } = await report(nginx)
    assert.deepEqual([images[0]?.newPods[0]?.code, notes], ['NamespaceExcluded', []])
  })
})

describe('kip why NAMESPACE/POD', () => {
  test('tells of the original of a pod that names the copy', async () => {
    know()
    run(`${copy}@${digest}`, { 'images.kip/original-images': '{"web":"nginx:1"}' })
    const { code, pod, images } = await report('shop/web-1-x')
    assert.deepEqual([code, pod], [0, 'shop/web-1-x'])
    assert.deepEqual(
      images.map(({ container, reference, now }) => [container, reference, now]),
      [['web', nginx, 'copy']],
    )
    // By the word of the annotation, where the status has none of the copy any more.
    know({ mirrors: [] })
    assert.equal((await report('shop/web-1-x')).images[0]?.reference, nginx)
  })

  test('tells why a new pod of its workload is left alone', async () => {
    know()
    run('nginx:1')
    const codeOf = async () => (await report('shop/web-1-x')).images[0]?.newPods[0]?.code
    assert.equal(await codeOf(), 'Rewritten')
    const owners = [{ uid: 'web-1', name: 'x', reason: 'Refused', times: 1, until: '2999-01-01' }]
    put(core('configmaps', namespace), {
      metadata: { name: 'kip-stopped-owners', namespace },
      data: { 'owners.json': JSON.stringify(owners) },
    })
    assert.equal(await codeOf(), 'RewriteStopped')
    const labels = { 'images.kip/ignore': 'true' }
    put(apps('deployments', 'shop'), { metadata: { name: 'web', namespace: 'shop', labels } })
    assert.equal(await codeOf(), 'OptedOut')
    put(core('namespaces'), { metadata: { name: 'shop', labels } })
    assert.equal(await codeOf(), 'NamespaceExcluded')
  })

  test('looks for the flag on every kind that kip knows, and on no namesake of another group', async () => {
    const templates = [{ group: 'argoproj.io', version: 'v1', kind: 'Rollout', plural: 'rollouts' }]
    deploy({
      KIP_MIRROR_REGISTRY: 'backup.test',
      KIP_DISCOVERY_TEMPLATES: JSON.stringify(templates),
    })
    know()
    const labels = { 'images.kip/ignore': 'true' }
    const flagged = { metadata: { name: 'web', namespace: 'shop', labels } }
    put({ group: 'argoproj.io', version: 'v1', plural: 'rollouts', namespace: 'shop' }, flagged)
    put({ group: 'batch', version: 'v1', plural: 'jobs', namespace: 'shop' }, flagged)
    put(core('replicationcontrollers', 'shop'), flagged)
    const codes = new Map<string, string | undefined>()
    for (const [apiVersion, kind] of [
      ['argoproj.io/v1', 'Rollout'],
      ['v1', 'ReplicationController'],
      ['batch/v1', 'Job'],
      ['batch.volcano.sh/v1alpha1', 'Job'],
    ] as const) {
      const ownerReferences = [{ apiVersion, kind, name: 'web', uid: 'web', controller: true }]
      put(core('pods', 'shop'), {
        metadata: { name: 'web-1-x', namespace: 'shop', ownerReferences },
        spec: { containers: [{ name: 'web', image: 'nginx:1' }] },
      })
      const { images } = await report('shop/web-1-x')
      codes.set(`${apiVersion} ${kind}`, images[0]?.newPods[0]?.code)
    }
    assert.deepEqual(Object.fromEntries(codes), {
      'argoproj.io/v1 Rollout': 'OptedOut',
      'v1 ReplicationController': 'OptedOut',
      'batch/v1 Job': 'OptedOut',
      'batch.volcano.sh/v1alpha1 Job': 'Rewritten',
    })
  })

  test('finds nothing lacking where kip is to know nothing', async () => {
    put(core('namespaces'), {
      metadata: { name: 'shop', annotations: { 'images.kip/ignore': 'true' } },
    })
    run('nginx:1')
    const { code, images } = await report('shop/web-1-x')
    assert.deepEqual([code, images[0]?.reference], [0, nginx])
  })

  test('takes for an image what is no pod, and says so', async () => {
    const { images, pod, notes } = await report('library/nginx')
    assert.deepEqual([images[0]?.reference, pod], ['docker.io/library/nginx:latest', undefined])
    assert.deepEqual(notes, ['there is no pod library/nginx: it is taken for an image'])
  })

  test('of a pod that names the copy by itself tells what becomes of the image, and of the pod', async () => {
    know()
    run(`${copy}@${digest}`)
    const { code, images } = await report('shop/web-1-x')
    const [image] = images
    assert.deepEqual([code, image?.reference, image?.now], [0, nginx, 'copy'])
    assert.deepEqual(
      [image?.mirror.code, image?.cache?.code, image?.newPods[0]?.code],
      ['Mirror', 'CacheBackup', 'IsBackup'],
    )
  })

  test('tells of every image of a pod of which one is no reference', async () => {
    know()
    run('NGINX:1')
    const { code, images } = await report('shop/web-1-x')
    const [image] = images
    assert.deepEqual([code, image?.reference], [1, 'NGINX:1'])
    assert.deepEqual(image?.lacks, ['InvalidReference'])
  })

  test('counts for an ephemeral container the pull secrets that its pod names already', async () => {
    deploy({ KIP_MIRROR_REGISTRY: 'backup.test', KIP_MIRROR_PULL_SECRET: 'opens' })
    put(core('secrets', 'shop'), { metadata: { name: 'opens', namespace: 'shop' } })
    know()
    const codesOf = async (imagePullSecrets: readonly object[]) => {
      const ephemeralContainers = [{ name: 'debug', image: 'nginx:1' }]
      const containers = [{ name: 'web', image: 'nginx:1' }]
      put(core('pods', 'shop'), {
        metadata: { name: 'web', namespace: 'shop' },
        spec: { containers, ephemeralContainers, imagePullSecrets },
      })
      return (await report('shop/web')).images.map(({ newPods }) => newPods[0]?.code)
    }
    assert.deepEqual(await codesOf([]), ['Rewritten', 'NoPullSecret'])
    assert.deepEqual(await codesOf([{ name: 'opens' }]), ['Rewritten', 'Rewritten'])
  })

  test('lets no text of a pod move the cursor of who reads it', async () => {
    run('evil\u001b[2J\u202eegami:1')
    const { text } = await ask('shop/web-1-x')
    assert.match(text, /evil\\u001b\[2J\\u202eegami:1/)
    assert.ok(!text.includes('\u001b') && !text.includes('\u202e'), text)
  })
})

describe('kip why', () => {
  test('writes nothing', async () => {
    know()
    run('nginx:1')
    await ask(nginx)
    await ask('shop/web-1-x')
    assert.deepEqual([...new Set(kube.requests.map(({ method }) => method))], ['GET'])
  })

  test('says that it cannot tell, and why, with 2', async () => {
    deploy({}, { args: ['run', '--config=/etc/kip/kip.yaml'] })
    const { code, complaints } = await ask(nginx)
    assert.deepEqual(
      [code, complaints],
      [2, 'kip why: kip has settings in /etc/kip/kip.yaml of its pods: give a copy with --config'],
    )
    assert.equal((await ask('No:Image:At:All')).code, 2)
    await kube.stop()
    assert.equal((await ask(nginx)).code, 2)
    await kube.start()
  })

  test('takes no end before the answer for one that something lacks', async () => {
    know()
    const stop = new AbortController()
    kube.fault = () => {
      stop.abort(new Error('stopped by SIGINT'))
      return { status: 503, reason: 'ServiceUnavailable' }
    }
    const { code, complaints } = await askUntil(stop.signal, nginx)
    assert.deepEqual([code, complaints], [2, 'kip why: stopped by SIGINT'])
  })

  test('says that it cannot tell where kip holds a list of images alone', async () => {
    know()
    const oidc = { OIDC_PROVIDER: 'https://o.test', IMPERSONATE_USERS: 'a' }
    for (const [data, reason] of [
      [{ KIP_DISCOVERY_ENABLED: 'false', IMAGES: 'a=nginx:1' }, /discovery\.enabled is false/],
      [{ ...oidc, OPENSHIFT_PROXY_URL: 'https://p.test' }, /multi-cluster mode/],
    ] as const) {
      deploy(data)
      const { code, text, complaints } = await ask(nginx)
      assert.deepEqual([code, text], [2, ''])
      assert.match(complaints, reason)
      assert.match(complaints, /\bIMAGES\b/)
    }
  })

  test('arguments that do not fit are told, all at once', async () => {
    assert.throws(
      () => parseWhyArguments(['a', 'b', '--output', 'xml', '--deployment', '']),
      (error) => error instanceof UsageError && error.faults.length === 3,
    )
    const { code, text } = await ask('--help')
    assert.deepEqual([code, text], [0, whyUsage])
    const page = await readFile(new URL('../../../docs/why.md', import.meta.url), 'utf8')
    assert.ok(page.includes(whyUsage), 'docs/why.md has the help')
  })
})
