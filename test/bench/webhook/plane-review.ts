import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readSecret } from '../../../certs/secret.ts'
import { secretName } from '../../../certs/secret-source.ts'
import { getObject } from '../../../src/kube/apply.ts'
import type { Secret } from '../../../src/kube/types.ts'
import { ContenderError } from '../harness/measure.ts'
import type { PostOptions } from './contenders.ts'
import type { ControlPlane } from './control-plane.ts'
import { podReview } from './pod-review.ts'
import type { World } from './world.ts'

/** How kip as a whole, in that namespace, is posted a review of images that it has copied. */
export async function planeReview(
  { client, images }: ControlPlane,
  world: World,
  options: {
    readonly namespace: string
    readonly inFlight: number
    readonly signal: AbortSignal
  },
): Promise<PostOptions> {
  const { namespace, inFlight, signal } = options
  const secrets = { group: '', version: 'v1', plural: 'secrets', namespace }
  const secret = await getObject<Secret>(client, secrets, secretName, { signal })
  const content = secret && readSecret(secret)
  if (content?.kind !== 'own') throw new ContenderError('kip has made no certificate')
  const authority = join(world.folder, `${namespace}-ca.crt`)
  await writeFile(authority, content.identity.signer.certificate)
  const body = join(world.folder, 'review-of-plane.json')
  await writeFile(body, podReview(images))
  return { world, inFlight, body, authority }
}
