import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { RegistryError } from '@containers/image-copy'
import { outcomeOfFailure } from '../../../src/cli/copy/failure.ts'

const { signal } = new AbortController()

function messageOf(error: unknown): string {
  const outcome = outcomeOfFailure(error, signal)
  return 'message' in outcome ? outcome.message : ''
}

describe('what is said of an image that was not copied', () => {
  const party = { host: 'r.test:5000', registry: 'r.test:5000' }
  const faultOf = (code: string): Error =>
    new Error('cannot connect', { cause: Object.assign(new Error('said'), { code }) })

  test('the option by which a registry of plain http is copied from', () => {
    const cause = faultOf('ERR_SSL_WRONG_VERSION_NUMBER')
    const message = messageOf(new RegistryError('COPY_TLS', 'no TLS', { ...party, cause }))
    assert.equal(message, 'no TLS (--http r.test:5000)')
  })

  test('the option by which an authority is trusted', () => {
    for (const code of ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'DEPTH_ZERO_SELF_SIGNED_CERT']) {
      const error = new RegistryError('COPY_TLS', 'who', { ...party, cause: faultOf(code) })
      assert.equal(messageOf(error), 'who (--ca FILE)')
    }
  })

  test('none of the registry where a proxy fails', () => {
    const cause = Object.assign(faultOf('ERR_SSL_WRONG_VERSION_NUMBER'), { proxy: true })
    assert.equal(messageOf(new RegistryError('COPY_TLS', 'no TLS', { ...party, cause })), 'no TLS')
  })

  test('none where none helps, as against a certificate that expired', () => {
    const cause = faultOf('CERT_HAS_EXPIRED')
    assert.equal(messageOf(new RegistryError('COPY_TLS', 'old', { ...party, cause })), 'old')
  })

  test('the option by which a registry is shown a client certificate', () => {
    const cause = new Error('alert certificate required')
    cause.name = 'ClientCertificateError'
    const party = { host: 'r.test', registry: 'r.test', cause }
    const message = messageOf(new RegistryError('COPY_TLS', 'none', party))
    assert.equal(message, 'none (--client-cert r.test=CERTFILE,KEYFILE)')
  })

  test('plain http is not offered where a token server fails', () => {
    const cause = faultOf('ERR_SSL_WRONG_VERSION_NUMBER')
    const elsewhere = { host: 'auth.test', registry: 'r.test', cause }
    assert.equal(messageOf(new RegistryError('COPY_TLS', 'no TLS', elsewhere)), 'no TLS')
  })

  test('other failures are told as they are', () => {
    const denied = new RegistryError('COPY_DENIED', 'denied', { host: 'r.test' })
    assert.deepEqual(outcomeOfFailure(denied, signal), {
      ...{ status: 'failed', code: 'COPY_DENIED', message: 'denied' },
    })
    assert.deepEqual(outcomeOfFailure(new TypeError('a mistake'), signal), {
      ...{ status: 'failed', code: 'KIP_INTERNAL', message: 'a mistake' },
    })
  })

  test('whatever fails in a run that was stopped was stopped', () => {
    const stop = new AbortController()
    stop.abort(new Error('stopped by SIGINT'))
    assert.deepEqual(outcomeOfFailure(new Error('closed'), stop.signal), {
      ...{ status: 'stopped', code: 'KIP_STOPPED', message: 'stopped by SIGINT' },
    })
  })
})
