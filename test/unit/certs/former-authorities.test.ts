import assert from 'node:assert/strict'
import { beforeEach, describe, test } from 'node:test'
import { FormerAuthorities } from '../../../certs/former-authorities.ts'
import { ManualClock } from '../../support/manual-clock.ts'

const pem = (body: string): string =>
  `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----`
const [a, b, c] = [pem('A'), pem('B'), pem('C')]
const minute = 60_000

describe('former authorities', () => {
  let clock: ManualClock
  let former: FormerAuthorities

  beforeEach(() => {
    clock = new ManualClock()
    former = new FormerAuthorities(clock)
    assert.equal(former.behind(a), a)
    assert.equal(former.leftMs(), undefined)
  })

  test('stand behind the newest for five minutes', () => {
    assert.equal(former.behind(`${b}\n`), `${b}\n${a}`)
    assert.equal(former.leftMs(), 5 * minute)
    clock.advance(5 * minute - 1)
    assert.equal(former.behind(b), `${b}\n${a}`)
    clock.advance(1)
    assert.equal(former.behind(b), b)
    assert.equal(former.leftMs(), undefined)
  })

  test('each for its own time, however often others follow', () => {
    former.behind(b)
    clock.advance(3 * minute)
    assert.equal(former.behind(c), `${c}\n${a}\n${b}`)
    assert.equal(former.leftMs(), 2 * minute)
    clock.advance(2 * minute)
    assert.equal(former.behind(c), `${c}\n${b}`)
    assert.equal(former.leftMs(), 3 * minute)
  })

  test('are none that the newest bundle names itself', () => {
    assert.equal(former.behind(`${b}\n${a}`), `${b}\n${a}`)
    assert.equal(former.leftMs(), undefined)
  })

  test('count anew when they come back and go again', () => {
    former.behind(b)
    clock.advance(4 * minute)
    assert.equal(former.behind(a), `${a}\n${b}`)
    clock.advance(2 * minute)
    assert.equal(former.behind(b), `${b}\n${a}`)
    assert.equal(former.leftMs(), 5 * minute)
  })

  test('take no place where the authorities of the system count', () => {
    assert.equal(former.behind(''), '')
  })
})
