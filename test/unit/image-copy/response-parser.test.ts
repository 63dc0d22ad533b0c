import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { ProtocolError } from '../../../src/image-copy/src/http/protocol-error.ts'
import { ResponseParser } from '../../../src/image-copy/src/http/response-parser.ts'

interface Parsed {
  readonly status: number
  readonly body: string
  readonly whole: boolean
  readonly keepAlive: boolean
  /** Bytes after the answer. */
  readonly stray: number
}

/** Feeds text in pieces of the given sizes, the last size repeated. */
function parse(
  text: string,
  { sizes = [text.length], method = 'GET', closes = true } = {},
): Parsed {
  const parser = new ResponseParser()
  parser.begin(method)
  let status = 0
  let body = ''
  let whole = false
  let stray = 0
  const bytes = Buffer.from(text, 'latin1')
  // As a connection's buffer has them: behind what was read now is what was read before.
  const stale = '\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstale'
  const buffer = Buffer.alloc(bytes.length + 100, stale, 'latin1')
  for (let from = 0, i = 0; from < bytes.length; i += 1) {
    const size = Math.max(1, sizes[Math.min(i, sizes.length - 1)] ?? 1)
    const piece = bytes.subarray(from, from + size)
    from += piece.length
    piece.copy(buffer)
    if (whole) {
      stray += piece.length
      continue
    }
    for (let at = 0; !whole; ) {
      const step = parser.read(buffer, at, piece.length)
      if (step.kind === 'more') break
      at = step.at
      if (step.kind === 'head') status = step.head.status
      else if (step.kind === 'body') body += buffer.toString('latin1', step.from, step.at)
      whole = step.last
      if (whole) stray += piece.length - at
    }
  }
  if (!whole && closes) whole = parser.finish()
  return { status, body, whole, keepAlive: parser.keepAlive, stray }
}

const ok = 'HTTP/1.1 200 OK\r\n'

describe('answers that are read', () => {
  const cases: readonly [string, string, Partial<Parsed>, string?][] = [
    [
      'a counted body',
      `${ok}Content-Length: 5\r\n\r\nhello`,
      { body: 'hello', whole: true, keepAlive: true },
    ],
    ['no body', `${ok}Content-Length: 0\r\n\r\n`, { body: '', whole: true, keepAlive: true }],
    [
      'chunks',
      `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nyou\r\n0\r\n\r\n`,
      { body: 'helloyou', whole: true, keepAlive: true },
    ],
    [
      'chunk extensions and trailers',
      `${ok}Transfer-Encoding: chunked\r\n\r\n5;a=b;c="d"\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n`,
      { body: 'hello', whole: true },
    ],
    [
      'a body that ends with the connection',
      `${ok}\r\nhello`,
      { body: 'hello', whole: true, keepAlive: false },
    ],
    [
      'Connection: close',
      `${ok}Content-Length: 1\r\nConnection: Keep-Alive, Close\r\n\r\nx`,
      { whole: true, keepAlive: false },
    ],
    [
      'HTTP/1.0',
      'HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx',
      { whole: true, keepAlive: false },
    ],
    ['no reason phrase', 'HTTP/1.1 404\r\nContent-Length: 0\r\n\r\n', { status: 404, whole: true }],
    [
      'the length in an answer to HEAD',
      `${ok}Content-Length: 500\r\n\r\n`,
      { body: '', whole: true, keepAlive: true },
      'HEAD',
    ],
    [
      '204 with a length',
      'HTTP/1.1 204 No Content\r\nContent-Length: 9\r\n\r\n',
      { body: '', whole: true },
    ],
    [
      'interim answers before',
      `HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n${ok}Content-Length: 2\r\n\r\nhi`,
      { status: 200, body: 'hi', whole: true },
    ],
    [
      'bytes after the end',
      `${ok}Content-Length: 2\r\n\r\nhiHTTP/1.1 200 OK\r\n`,
      { body: 'hi', whole: true, stray: 17 },
    ],
    ['a body cut short', `${ok}Content-Length: 9\r\n\r\nhello`, { body: 'hello', whole: false }],
    [
      'chunks cut short',
      `${ok}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`,
      { body: 'hello', whole: false },
    ],
    [
      'chunks of one byte',
      `${ok}Transfer-Encoding: chunked\r\n\r\n${'1;a=b\r\nx\r\n'.repeat(5000)}0\r\n\r\n`,
      { body: 'x'.repeat(5000), whole: true },
    ],
    ['a head cut short', `${ok}Content-Le`, { status: 0, whole: false }],
  ]
  for (const [what, text, expected, method] of cases) {
    test(what, () => {
      for (const sizes of [[text.length], [1], [3, 1, 7]]) {
        const parsed = parse(text, { sizes, ...(method === undefined ? {} : { method }) })
        const seen = Object.fromEntries(
          Object.keys(expected).map((key) => [key, parsed[key as keyof Parsed]]),
        )
        assert.deepEqual(seen, expected, `in pieces of ${sizes}`)
      }
    })
  }
})

describe('answers that are refused', () => {
  const cases: Readonly<Record<string, string>> = {
    'length and chunks at once': `${ok}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`,
    'two lengths': `${ok}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`,
    'the same length twice': `${ok}Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello`,
    'a signed length': `${ok}Content-Length: +5\r\n\r\nhello`,
    'a hex length': `${ok}Content-Length: 0x5\r\n\r\nhello`,
    'a length beyond numbers': `${ok}Content-Length: 9999999999999999\r\n\r\n`,
    'an unknown coding': `${ok}Transfer-Encoding: gzip, chunked\r\n\r\n`,
    'chunked twice': `${ok}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`,
    'chunks in HTTP/1.0': 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    'a folded header': `${ok}X: a\r\n b\r\nContent-Length: 0\r\n\r\n`,
    'a space before the colon': `${ok}Content-Length : 5\r\n\r\nhello`,
    'a header without a colon': `${ok}nonsense\r\n\r\n`,
    'a bare LF in the head': `${ok}X: a\nContent-Length: 5\r\n\r\nhello`,
    'a bare CR in the head': `${ok}X: a\rb\r\n\r\n`,
    'NUL in a value': `${ok}X: a\u0000b\r\n\r\n`,
    'another protocol': 'SSH-2.0-OpenSSH_9.6\r\n',
    'TLS where http was spoken': '\u0015\u0003\u0003\u0000\u0002\u0002\u0028',
    'HTTP/2 in name': 'HTTP/2 200\r\n\r\n',
    'a status of four digits': 'HTTP/1.1 2000 OK\r\n\r\n',
    'a switch of protocols': 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n',
    'interim answers without end': `${'HTTP/1.1 100 Continue\r\n\r\n'.repeat(20)}`,
    'a head without end': `${ok}${'X: y\r\n'.repeat(9000)}`,
    'too many headers': `${ok}${'X: y\r\n'.repeat(200)}\r\n`,
    'one endless header': `${ok}X: ${'y'.repeat(40_000)}`,
    'a chunk size that is no number': `${ok}Transfer-Encoding: chunked\r\n\r\nfive\r\nhello\r\n`,
    'a negative chunk size': `${ok}Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n`,
    'a chunk size beyond numbers': `${ok}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n`,
    'a chunk longer than its size': `${ok}Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n`,
    'chunk lines that end in LF': `${ok}Transfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n`,
    'an endless chunk extension': `${ok}Transfer-Encoding: chunked\r\n\r\n5;${'a'.repeat(3000)}`,
    'chunks that are next to nothing but extensions': `${ok}Transfer-Encoding: chunked\r\n\r\n${`1;${'a'.repeat(900)}\r\nx\r\n`.repeat(30)}`,
    'endless trailers': `${ok}Transfer-Encoding: chunked\r\n\r\n0\r\n${`X: ${'y'.repeat(500)}\r\n`.repeat(40)}`,
  }
  for (const [what, text] of Object.entries(cases)) {
    test(what, () => {
      for (const sizes of [[text.length], [1], [100, 7]]) {
        assert.throws(() => parse(text, { sizes }), ProtocolError, `in pieces of ${sizes}`)
      }
    })
  }
})

test('what an answer spent on extensions of its chunks does not count against the next', () => {
  const chunks = Buffer.from(
    `${ok}Transfer-Encoding: chunked\r\n\r\n${`1;${'a'.repeat(900)}\r\nx\r\n`.repeat(15)}0\r\n\r\n`,
  )
  const parser = new ResponseParser()
  for (let answers = 0; answers < 3; answers += 1) {
    parser.begin('GET')
    for (let at = 0, last = false; !last; ) {
      const step = parser.read(chunks, at, chunks.length)
      if (step.kind === 'more') throw new Error('the answer is not whole')
      at = step.at
      last = step.last
    }
  }
})

test('an answer is the same however its bytes are cut', () => {
  const chunks = fc.array(fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 60 }), {
    maxLength: 6,
  })
  const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 30 })
  fc.assert(
    fc.property(chunks, sizes, fc.boolean(), (parts, cut, chunked) => {
      const body = parts.join('')
      const text = chunked
        ? `${ok}Transfer-Encoding: chunked\r\n\r\n${parts.map((part) => `${part.length.toString(16)}\r\n${part}\r\n`).join('')}0\r\n\r\n`
        : `${ok}Content-Length: ${body.length}\r\n\r\n${body}`
      const parsed = parse(text, { sizes: cut })
      assert.deepEqual([parsed.body, parsed.whole, parsed.stray], [body, true, 0])
    }),
  )
})

test('nothing that a peer sends makes the parser loop or fail in another way', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary-ascii', maxLength: 400 }), (text) => {
      try {
        parse(ok + text, { sizes: [7] })
      } catch (error) {
        assert.ok(error instanceof ProtocolError)
      }
    }),
  )
})
