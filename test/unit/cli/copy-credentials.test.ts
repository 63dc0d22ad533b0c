import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { copyCredentials } from '../../../src/cli/copy/credentials.ts'

describe('default files of credentials', () => {
  /** As a file system without any of them answers, save for `files`. */
  async function look(
    env: Readonly<Record<string, string>>,
    { uid, files = {} }: { uid?: number; files?: Readonly<Record<string, string | Error>> },
  ) {
    const read: string[] = []
    const said: string[] = []
    const open = await copyCredentials({
      sourceAuth: undefined,
      targetAuth: undefined,
      env,
      uid,
      readFile: (path) => {
        read.push(path)
        const content = files[path] ?? Object.assign(new Error('not there'), { code: 'ENOENT' })
        if (typeof content !== 'string') throw content
        return content
      },
      readInput: () => assert.fail('nobody named standard input'),
      complain: (text) => said.push(text),
    })
    return { read, said, found: await open([])('q.io', 'x') }
  }

  test("are root's of skopeo too, where sudo took XDG_RUNTIME_DIR away", async () => {
    const file = '{"auths":{"q.io":{"username":"u","password":"p"}}}'
    const files = { '/run/containers/0/auth.json': file }
    const { found } = await look({ HOME: '/root' }, { uid: 0, files })
    assert.deepEqual(found, [{ username: 'u', password: 'p' }])
  })

  test("are in the user's own runtime folder, where there is one", async () => {
    const { read } = await look({ HOME: '/h', XDG_RUNTIME_DIR: '/run/user/7' }, { uid: 7 })
    assert.deepEqual(read, [
      '/h/.docker/config.json',
      '/run/user/7/containers/auth.json',
      '/h/.config/containers/auth.json',
    ])
  })

  test('are not missed in a folder of other users, which is closed', async () => {
    const closed = Object.assign(new Error('EACCES'), { code: 'EACCES' })
    const files = { '/run/containers/7/auth.json': closed }
    const { said, found } = await look({}, { uid: 7, files })
    assert.deepEqual([said, found], [[], []])
  })

  test('are none without a home, a user or a variable', async () => {
    assert.deepEqual((await look({}, {})).read, [])
  })
})
