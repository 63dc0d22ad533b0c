import type { StoredIdentity } from '../../certs/identity.ts'
import { issueAuthority, issueServing } from '../../certs/issue.ts'
import { defaultLifetimes } from '../../certs/lifetimes.ts'
import { secretOf } from '../../certs/secret.ts'
import { secretName, servingNames } from '../../certs/secret-source.ts'
import type { Secret } from '../../src/kube/types.ts'

/**
 * The Secret of a webhook that has run since its authority was made, so long ago that kip replaces it now; what that
 * authority signed last is good for weeks yet.
 */
export async function agedIdentity(namespace: string): Promise<Secret> {
  const lifetimes = defaultLifetimes
  const now = Date.now()
  const long = now - lifetimes.authorityMs * (lifetimes.replaceAt + 0.05)
  const signer = await issueAuthority({ now: long, lifetimes })
  const names = servingNames({ service: 'kip-webhook', namespace })
  const recent = now - lifetimes.servingMs * 0.3
  const serving = await issueServing(signer, { now: recent, lifetimes, names })
  const identity: StoredIdentity = { signer, retired: [], serving }
  return secretOf(identity, { namespace, name: secretName })
}
