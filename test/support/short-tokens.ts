import { sign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Cluster } from '../cluster/index.ts'

/**
 * A token of a service account as the API server issues them, but for the time that it is good: the shortest that the API
 * server gives is ten minutes.
 *
 * @param account.uid - of the ServiceAccount object
 * @param validSeconds - from now until it says that it ends
 */
export async function signToken(
  cluster: Cluster,
  account: { readonly namespace: string; readonly name: string; readonly uid: string },
  validSeconds: number,
): Promise<string> {
  const { namespace, name, uid } = account
  const now = Math.floor(Date.now() / 1000)
  const issuer = 'https://kubernetes.default.svc'
  const encode = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = {
    iss: issuer,
    aud: [issuer],
    sub: `system:serviceaccount:${namespace}:${name}`,
    iat: now - 3600,
    nbf: now - 3600,
    exp: now + validSeconds,
    'kubernetes.io': { namespace, serviceaccount: { name, uid } },
  }
  const text = `${encode({ alg: 'ES256', typ: 'JWT' })}.${encode(claims)}`
  const key = await readFile(join(cluster.folder, 'pki', 'service-account.key'), 'utf8')
  const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' })
  return `${text}.${signature.toString('base64url')}`
}
