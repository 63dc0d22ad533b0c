import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { DockerConfig } from '@containers/image-copy'
import {
  credentialsFor,
  dockerConfigFor,
  type HeldCredential,
  readPullSecret,
} from '../../../src/puller/credentials.ts'

const base64 = (text: string): string => Buffer.from(text).toString('base64')
const secret = (auths: object): DockerConfig => {
  const data = { '.dockerconfigjson': base64(JSON.stringify({ auths })) }
  const config = readPullSecret({ type: 'kubernetes.io/dockerconfigjson', data })
  assert.ok(config)
  return config
}
const only = (list: readonly HeldCredential[]): HeldCredential => {
  const [first, ...more] = list
  assert.ok(first !== undefined && more.length === 0)
  return first
}

describe('pull secrets', () => {
  it('are read in both of their forms, and passed over when they are none', () => {
    const old = { 'r.test': { auth: base64('me:old') } }
    const data = { '.dockercfg': base64(JSON.stringify(old)) }
    const config = readPullSecret({ type: 'kubernetes.io/dockercfg', data })
    assert.equal(only(credentialsFor('r.test/a:1', [config ?? secret({})])).password, 'old')
    assert.equal(readPullSecret({ type: 'Opaque', data }), undefined)
    assert.equal(readPullSecret({ type: 'kubernetes.io/dockercfg' }), undefined)
    const broken = { '.dockercfg': base64('{') }
    assert.equal(readPullSecret({ type: 'kubernetes.io/dockercfg', data: broken }), undefined)
  })

  it('give an image what is for its registry, the longest path first', () => {
    const config = secret({
      'r.test': { username: 'wide', password: 'w' },
      'r.test/team': { username: 'narrow', password: 'n' },
      'other.test': { username: 'other', password: 'o' },
    })
    const names = (reference: string): readonly string[] =>
      credentialsFor(reference, [config]).map(({ username }) => username)
    assert.deepEqual(names('r.test/team/app:1'), ['narrow', 'wide'])
    assert.deepEqual(names('r.test/app:1'), ['wide'])
    assert.deepEqual(names('third.test/app:1'), [])
  })

  it('are the same credential when name and password are, wherever they stand', () => {
    const one = only(
      credentialsFor('r.test/a:1', [secret({ 'r.test': { username: 'u', password: 'p' } })]),
    )
    const two = only(
      credentialsFor('r.test/a:1', [secret({ 'https://r.test': { auth: base64('u:p') } })]),
    )
    const three = only(
      credentialsFor('r.test/a:1', [secret({ 'r.test': { username: 'u', password: 'q' } })]),
    )
    assert.equal(one.id, two.id)
    assert.notEqual(one.id, three.id)
    assert.ok(!one.id.includes('p'))
  })
})

describe('the copy of pull secrets', () => {
  it('holds the repositories of its images and nothing else, in one order', () => {
    const config = secret({
      'r.test': { username: 'u', password: 'p' },
      'other.test': { username: 'other', password: 'o' },
    })
    const members = ['r.test/b:1', `r.test/a/c@sha256:${'a'.repeat(64)}`].map((reference) => ({
      reference,
      credential: only(credentialsFor(reference, [config])),
    }))
    const text = dockerConfigFor(members)
    const entry = { username: 'u', password: 'p' }
    assert.deepEqual(JSON.parse(text), { auths: { 'r.test/a/c': entry, 'r.test/b': entry } })
    assert.equal(dockerConfigFor(members.toReversed()), text)
    const [again] = credentialsFor('r.test/b:2', [secret(JSON.parse(text).auths)])
    assert.equal(again?.id, members[0]?.credential.id)
  })

  it('holds every credential of a repository that has several, each once', () => {
    const credentials = ['a', 'b', 'c', 'a'].flatMap((password) =>
      credentialsFor('r.test/x/y:1', [secret({ 'r.test': { username: 'u', password } })]),
    )
    const text = dockerConfigFor(
      credentials.map((credential) => ({ reference: 'r.test/x/y:1', credential })),
    )
    const config = secret(JSON.parse(text).auths)
    const found = credentialsFor('r.test/x/y:2', [config]).map(({ password }) => password)
    assert.deepEqual(found.sort(), ['a', 'b', 'c'])
    assert.deepEqual(credentialsFor('r.test/x:1', [config]), [])
  })
})
