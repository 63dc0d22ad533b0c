import type { X509Certificate } from 'node:crypto'
import { CertificateError } from './errors.ts'
import type { StoredIdentity } from './identity.ts'
import { issueAuthority, issueServing } from './issue.ts'
import type { Lifetimes } from './lifetimes.ts'
import { covers, namesOf, readCertificate } from './pem.ts'

/**
 * What is to be done with an identity next.
 *
 * `create`: make one, nothing of the old is of use. `introduce`: make the next authority, and have it trusted.
 * `promote`: the next authority signs from now on. `reissue`: the signer signs a new serving certificate. `extend`: it
 * signs one that stands for more names. `retire`: distrust former authorities. `keep`: nothing, until then (Unix ms).
 */
export type IdentityStep =
  | { readonly step: 'create' | 'introduce' | 'promote' | 'reissue' | 'extend' | 'retire' }
  | { readonly step: 'keep'; readonly until: number }

/** What a step is decided by besides the identity itself. */
export interface RotationContext {
  /** Unix ms. */
  readonly now: number
  readonly lifetimes: Lifetimes
  /** Host names and IP addresses that clients call. */
  readonly names: readonly string[]
  /**
   * For how many ms clients are known to trust an authority, from the bundle having been read back where they look it
   * up; undefined: not known to.
   */
  readonly trustedForMs: (certificate: string) => number | undefined
}

/**
 * Decides the next step of an identity's life; pure.
 *
 * The invariant: whatever a replica serves, by the newest Secret or one that is `overlapMs` old, is signed by an
 * authority in the bundle, and an authority signs nothing that is served before clients trusted it for `trustDelayMs`.
 * It is given up only where nothing valid is left to serve.
 *
 * A certificate that is not valid yet is left alone: a replica with a clock far behind would otherwise replace it for
 * ever, against the replica that made it.
 */
export function nextIdentity(
  stored: StoredIdentity | undefined,
  context: RotationContext,
): IdentityStep {
  const { now, lifetimes, names, trustedForMs } = context
  if (stored === undefined) return { step: 'create' }

  const signer = lifeOf(stored.signer.certificate, lifetimes)
  const next = stored.next && lifeOf(stored.next.certificate, lifetimes)
  const nextIsValid = next !== undefined && now < next.end
  if (now >= signer.end) return { step: nextIsValid ? 'promote' : 'create' }

  const trusted = stored.next && trustedForMs(stored.next.certificate)
  const promoteAt = trusted === undefined ? never : now + lifetimes.trustDelayMs - trusted
  if (nextIsValid && now >= promoteAt) return { step: 'promote' }
  if (!nextIsValid && now >= signer.due) return { step: 'introduce' }

  const serving = lifeOf(stored.serving.certificate, lifetimes)
  if (now >= serving.due && serving.end < signer.end) return { step: 'reissue' }
  if (!isSigned(stored)) return { step: 'reissue' }
  if (!covers(readServing(stored), names)) return { step: 'extend' }

  const retireAt = stored.retired.length === 0 ? never : serving.issued + lifetimes.overlapMs
  if (now >= retireAt) return { step: 'retire' }

  const reissueAt = serving.end < signer.end ? serving.due : signer.end
  const introduceAt = nextIsValid ? signer.end : signer.due
  return { step: 'keep', until: Math.min(promoteAt, introduceAt, reissueAt, retireAt) }
}

const never = Number.POSITIVE_INFINITY

// From an expired identity with everything wrong to a kept one takes four; more is a name that no certificate covers.
const maxSteps = 8

// A configuration has four names, see `servingNames`; more than five of them in a row are no longer one rollout.
const maxFormerNames = 16

/**
 * Takes steps until there is none to take now; gives back the same object when there was none.
 *
 * @throws CertificateError `KIP_CERTS_NAMES` when no certificate can be made that stands for all the names.
 */
export async function advanceIdentity(
  stored: StoredIdentity | undefined,
  context: RotationContext,
): Promise<StoredIdentity> {
  let identity = stored
  for (let taken = 0; taken <= maxSteps; taken++) {
    const { step } = nextIdentity(identity, context)
    if (identity !== undefined && step === 'keep') return identity
    identity = await takeStep(identity, step, context)
  }
  throw new CertificateError(
    'KIP_CERTS_NAMES',
    `no certificate stands for all of ${context.names.join(', ')}: use plain host names or IP addresses`,
  )
}

async function takeStep(
  identity: StoredIdentity | undefined,
  step: IdentityStep['step'],
  context: RotationContext,
): Promise<StoredIdentity> {
  if (identity === undefined || step === 'create') {
    const signer = await issueAuthority(context)
    return { signer, retired: [], serving: await issueServing(signer, context) }
  }
  const { signer, next, retired } = identity
  switch (step) {
    case 'introduce':
      return { ...identity, next: await issueAuthority(context) }
    case 'promote': {
      if (next === undefined) return identity
      const serving = await issueServing(next, context)
      return { signer: next, retired: [signer.certificate, ...retired], serving }
    }
    case 'reissue':
      return { ...identity, serving: await issueServing(signer, context) }
    case 'extend': {
      const names = extendedNames(identity, context.names)
      return { ...identity, serving: await issueServing(signer, { ...context, names }) }
    }
    case 'retire':
      return { ...identity, retired: [] }
    case 'keep':
      return identity
  }
}

/**
 * While replicas of two configurations run, each lacks a name that the other put in: a certificate for the names of one alone
 * would be replaced for ever, and API servers could call the rest by none of theirs. The next one by age is for the names alone.
 */
function extendedNames(stored: StoredIdentity, names: readonly string[]): readonly string[] {
  const former = namesOf(readServing(stored)).filter((name) => !names.includes(name))
  return [...names, ...former.slice(0, maxFormerNames)]
}

function isSigned(stored: StoredIdentity): boolean {
  const serving = readServing(stored)
  const signer = readCertificate(stored.signer.certificate, 'authority')
  return serving.checkIssued(signer) && serving.verify(signer.publicKey)
}

function readServing({ serving }: StoredIdentity): X509Certificate {
  return readCertificate(serving.certificate, 'serving certificate')
}

export interface Life {
  /** When it was made; its notBefore lies `backdateMs` earlier. */
  readonly issued: number
  readonly due: number
  readonly end: number
}

/** Reads from a certificate of kip's own when it was made, is to be replaced, and ends; Unix ms. */
export function lifeOf(pem: string, lifetimes: Lifetimes): Life {
  const certificate = readCertificate(pem, 'certificate')
  const start = certificate.validFromDate.getTime()
  const end = certificate.validToDate.getTime()
  return {
    issued: start + lifetimes.backdateMs,
    due: start + (end - start) * lifetimes.replaceAt,
    end,
  }
}
