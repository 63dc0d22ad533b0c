import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { answerQuery } from '../../cluster/dns.ts'

const names = new Map([['origin.test', '10.96.0.2']])
const A = 1
const AAAA = 28

/** A query as resolvers send it, with an EDNS record that an answer does not have to repeat. */
function query(name: string, type: number, id = 0x1234): Buffer {
  const header = Buffer.from([id >> 8, id & 0xff, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1])
  const labels = name.split('.').map((label) => [label.length, ...Buffer.from(label)])
  const edns = [0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, 0]
  return Buffer.concat([header, Buffer.from([...labels.flat(), 0, 0, type, 0, 1, ...edns])])
}

function read(answer: Buffer | undefined) {
  assert.ok(answer)
  return {
    id: answer.readUInt16BE(0),
    isAnswer: (answer.readUInt16BE(2) & 0x8000) !== 0,
    code: answer.readUInt16BE(2) & 0xf,
    answers: answer.readUInt16BE(6),
    additional: answer.readUInt16BE(10),
    last: [...answer.subarray(-4)].join('.'),
  }
}

describe('the cluster’s names', () => {
  it('have an address, however the letters are written', () => {
    for (const name of ['origin.test', 'ORIGIN.Test']) {
      const expected = { id: 0x1234, isAnswer: true, code: 0, answers: 1, additional: 0 }
      assert.deepEqual(read(answerQuery(query(name, A), names)), { ...expected, last: '10.96.0.2' })
    }
  })

  it('have no IPv6 address, which is not the same as not being there', () => {
    const { code, answers } = read(answerQuery(query('origin.test', AAAA), names))
    assert.deepEqual({ code, answers }, { code: 0, answers: 0 })
  })

  it('are all there is: the search domains of a pod lead nowhere', () => {
    const { code, answers } = read(
      answerQuery(query('origin.test.default.svc.cluster.local', A), names),
    )
    assert.deepEqual({ code, answers }, { code: 3, answers: 0 })
  })

  it('answer nothing to what is no query', () => {
    const whole = query('origin.test', A)
    const response = Buffer.from(whole)
    response.writeUInt8(0x80, 2)
    assert.equal(answerQuery(response, names), undefined)
    for (const length of [0, 11, 12, 15, 24, 27])
      assert.equal(answerQuery(whole.subarray(0, length), names), undefined, `${length} bytes`)
    const compressed = Buffer.from([...whole.subarray(0, 12), 0xc0, 12, 0, A, 0, 1])
    assert.equal(answerQuery(compressed, names), undefined)
  })
})
