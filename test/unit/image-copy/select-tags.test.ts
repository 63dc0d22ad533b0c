import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  faultOfTagPattern,
  faultOfVersionRange,
  selectTags,
  type TagSelection,
} from '../../../src/image-copy/src/index.ts'

/** As nginx has them, and not in order. */
const nginx = [
  'latest',
  'alpine',
  ...['1', '1.9', '1.9.15', '1.27', '1.27.5', '1.27.4', '1.28', '1.28.0', '1.28.0-rc1'],
  ...['1.27-alpine', '1.27.5-alpine', '1.28.0-alpine', '1.9.15-alpine', '1.28.0-alpine3.21'],
  ...['1.28.0-perl', '1.28.0-rc2-alpine', 'stable-bookworm', 'mainline'],
]

async function selected(selection: TagSelection, tags: readonly string[] = nginx) {
  return (await selectTags(tags, selection)).join(' ')
}

describe('tags by name', () => {
  test('all of them, where nothing narrows the choice', async () => {
    assert.equal(await selected({}), nginx.join(' '))
    assert.equal(await selected({ allow: [], deny: [] }), nginx.join(' '))
    assert.equal(await selected({ allow: ['*'] }), nginx.join(' '))
  })

  test('wildcards match whole tags, and a dot is a dot', async () => {
    assert.equal(await selected({ allow: ['1.2?'] }), '1.27 1.28')
    assert.equal(await selected({ allow: ['stable*', 'latest'] }), 'latest stable-bookworm')
    assert.equal(await selected({ allow: ['1.9'] }, ['1.9', '1x9', '1.9.1', 'v1.9']), '1.9')
  })

  test('an expression between slashes matches whole tags, each alternative of it', async () => {
    assert.equal(await selected({ allow: ['/1\\.2[78]/'] }), '1.27 1.28')
    assert.equal(await selected({ allow: ['/latest|main/'] }), 'latest')
  })

  test('what is denied is not taken, whoever allows it', async () => {
    const tags = ['1.27', '1.27-alpine', 'latest']
    assert.equal(await selected({ deny: ['*-*'] }, tags), '1.27 latest')
    assert.equal(await selected({ allow: ['1.*'], deny: ['/.*-alpine/', '2.*'] }, tags), '1.27')
  })

  test('what is no tag, or longer than one, is passed over', async () => {
    assert.equal(await selected({}, ['', '-a', 'a/b', 'a b', 'x'.repeat(129), 'ok']), 'ok')
  })

  test('names may come one after the other', async () => {
    async function* coming() {
      yield* ['a1', 'b1', 'a2']
    }
    assert.deepEqual(await selectTags(coming(), { allow: ['a*'] }), ['a1', 'a2'])
  })
})

describe('tags by version', () => {
  test('a range means versions alone, and a number that is left out is 0', async () => {
    assert.equal(await selected({ range: '>=1.27.4' }), '1.27.5 1.27.4 1.28 1.28.0')
    assert.equal(await selected({ range: '~1.27' }), '1.27 1.27.5 1.27.4')
    assert.equal(await selected({ range: '1.9.x || >= 1.28, < 2' }), '1.9 1.9.15 1.28 1.28.0')
  })

  test('with a v or without, with leading zeros, and with more numbers than three', async () => {
    const tags = ['v1.2.3', '22.04', 'v2', '1.2.3.4', '2024.01.15', 'x1.2.3']
    assert.equal(await selected({ range: '^1.2' }, tags), 'v1.2.3 1.2.3.4')
    assert.equal(await selected({ range: '>=22.04' }, tags), '22.04 2024.01.15')
    assert.equal(await selected({ range: 'v2' }, tags), 'v2')
    assert.equal(await selected({ latest: 9 }, tags), '2024.01.15 22.04 v2 1.2.3.4 v1.2.3')
  })

  test('the latest are the newest by version, and not by letter', async () => {
    assert.equal(await selected({ latest: 3 }), '1.28.0 1.28 1.27.5')
    assert.equal(await selected({ latest: 2, range: '<1.27' }), '1.9.15 1.9')
    assert.equal(await selected({ latest: 2, allow: ['1.?'] }), '1.9')
    assert.equal(await selected({ latest: 2, deny: ['1.28*'] }), '1.27.5 1.27.4')
    assert.equal(await selected({ latest: 100 }, ['latest', '1.2']), '1.2')
  })

  test('a suffix is taken where a pattern asks for it, and only there', async () => {
    const alpine = '1.28.0-alpine 1.27.5-alpine 1.27-alpine'
    assert.equal(await selected({ allow: ['*-alpine'], latest: 3 }), alpine)
    assert.equal(await selected({ allow: ['/.*-alpine/'], latest: 3 }), alpine)
    assert.equal(await selected({ allow: ['1.*'], latest: 3 }), '1.28.0 1.28 1.27.5')
    assert.equal(
      await selected({ allow: ['*-alpine'], range: '>=1.27.1' }),
      '1.27.5-alpine 1.28.0-alpine',
    )
    assert.equal(await selected({ allow: ['1.28*', '*-perl'], latest: 2 }), '1.28.0-perl 1.28.0')
  })

  test('suffixes of one version are ordered by their numbers too', async () => {
    const tags = ['1.2-alpine3.9', '1.2-alpine3.20', '1.2-alpine3.18']
    assert.equal(
      await selected({ allow: ['*-alpine*'], latest: 2 }, tags),
      '1.2-alpine3.20 1.2-alpine3.18',
    )
  })

  test('a pre-release is taken where the range, the option or a pattern asks for it', async () => {
    const tags = ['1.0.0', '2.0.0-rc.9', '2.0.0-rc.10', '2.0.0-beta.1', '1.9.0-alpha.1', '3.0b1']
    assert.equal(await selected({ range: '>=1' }, tags), '1.0.0')
    assert.equal(await selected({ latest: 2 }, tags), '1.0.0')
    assert.equal(await selected({ range: '>=2.0.0-rc.1 <3' }, tags), '2.0.0-rc.9 2.0.0-rc.10')
    assert.equal(await selected({ range: '>=1.0.0-0 <2.0.0-0' }, tags), '1.0.0 1.9.0-alpha.1')
    assert.equal(
      await selected({ latest: 4, preReleases: true }, tags),
      '3.0b1 2.0.0-rc.10 2.0.0-rc.9 2.0.0-beta.1',
    )
    assert.equal(await selected({ allow: ['*-rc.*'], latest: 1 }, tags), '2.0.0-rc.10')
    assert.equal(await selected({ allow: ['*-rc.*'], range: '2' }, tags), '2.0.0-rc.9 2.0.0-rc.10')
  })

  test('a pre-release with a suffix must be asked for in both', async () => {
    const only = { allow: ['*-alpine'], latest: 1 }
    assert.equal(await selected(only), '1.28.0-alpine')
    const tags = ['1.28.0-rc2-alpine', '1.27-alpine']
    assert.equal(await selected({ ...only, preReleases: true }, tags), '1.28.0-rc2-alpine')
    assert.equal(await selected({ latest: 1, preReleases: true }, tags), '')
  })

  test('a release comes after its pre-releases', async () => {
    const tags = ['v1.0.0-rc.2', 'v1.0.0', 'v1.0.0-alpha', 'v1.0.0-rc.10', 'v1.0.0-beta.3']
    assert.equal(
      await selected({ latest: 5, preReleases: true }, tags),
      'v1.0.0 v1.0.0-rc.10 v1.0.0-rc.2 v1.0.0-beta.3 v1.0.0-alpha',
    )
  })

  test('hashes, names and numbers beyond measure are no versions', async () => {
    const tags = ['7d3f2ab', 'v', 'release', 'sha256-12', `${'9'.repeat(40)}`, '1..2', '5']
    assert.equal(await selected({ latest: 9, allow: ['*'] }, tags), '5')
    assert.equal(await selected({ range: '*' }, tags), '5')
  })

  test('no name of a registry takes long to be read', async () => {
    const tags = ['1', '1.', '1-rc', '1-rc.'].flatMap((start) =>
      ['1', '.1', '-rc1', 'a'].map((more) =>
        `${start}${more.repeat(120)}`.slice(0, 127).concat('x'),
      ),
    )
    const selection = { allow: ['*-rc*', '*1x'], latest: 50, preReleases: true, range: '*' }
    assert.equal(typeof (await selected(selection, tags)), 'string')
  })
})

describe('faults of a selection', () => {
  for (const pattern of ['', 'a/b', 'nginx:1.*', '[0-9]*', '1.{2,3}', '//', '/', '/a', '/(/']) {
    test(`the pattern ${JSON.stringify(pattern)}`, async () => {
      assert.match(faultOfTagPattern(pattern) ?? '', /give|slashes|expression/)
      await assert.rejects(selectTags([], { deny: [pattern] }), TypeError)
    })
  }

  test('no pattern of tags that there can be', () => {
    for (const pattern of ['*', '1.2?', 'v1_x-*', '/a{2,3}/', '/[^/]*/'])
      assert.equal(faultOfTagPattern(pattern), undefined)
  })

  for (const range of ['', ' ', 'newest', '>=', '1.2.3.4', '=>1']) {
    test(`the range ${JSON.stringify(range)}`, async () => {
      assert.match((await faultOfVersionRange(range)) ?? '', /give a range/)
      await assert.rejects(selectTags([], { range }), TypeError)
    })
  }

  for (const latest of [0, -1, 1.5, Number.NaN]) {
    test(`the ${latest} latest`, async () => {
      await assert.rejects(selectTags([], { latest }), RangeError)
    })
  }
})
