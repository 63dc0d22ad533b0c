import { randomBytes } from 'node:crypto'
import { createObject, deleteObject, getObject } from '../kube/apply.ts'
import type { KubeClient } from '../kube/client.ts'
import { resourceOf } from '../kube/resource.ts'
import type { Secret } from '../kube/types.ts'
import { credentialsFor, readPullSecret } from './credentials.ts'
import { type ObservedShard, partLabel, pullerLabel, shardLabel } from './daemon-set.ts'
import { labelValue } from './shard.ts'
import { shortHash } from './short-hash.ts'
import { fieldManager } from './writer.ts'

const part = 'puller-credentials'
const key = '.dockerconfigjson'

interface Copy {
  readonly name: string
  readonly uid: string
  readonly shard: string
  readonly content: string
  /** Of the DaemonSet that takes it along. */
  readonly ownerUid: string
}

export interface CredentialCopiesOptions {
  readonly client: KubeClient
  readonly namespace: string
  /** The puller's DaemonSet name. */
  readonly base: string
}

/**
 * The Secrets in kip's own namespace that private shards pull with.
 *
 * A Secret is never changed, and its name never used again: a kubelet takes a Secret that it knows by name and uid for one
 * that may use what was pulled with it before, whatever it holds by now, so what is written into an old one would be let
 * in unchecked. Its DaemonSet owns it and takes it along.
 */
export class CredentialCopies {
  readonly #options: CredentialCopiesOptions
  /** Those that are there, as far as is known, whether a DaemonSet came to name them or not. */
  #copies: readonly Copy[] = []

  constructor(options: CredentialCopiesOptions) {
    this.#options = options
  }

  /**
   * Looks at those that DaemonSets name, that a leader before may have made for them, and that are known, each by its
   * name: nobody needs to list Secrets for that.
   */
  async read(shards: readonly ObservedShard[], signal: AbortSignal): Promise<void> {
    const { client } = this.#options
    const names = new Set([
      ...shards.flatMap((shard) =>
        [copyOf(shard) ?? [], shard.formerSecrets, nextName(shard)].flat(),
      ),
      ...this.#copies.map(({ name }) => name),
    ])
    const copies: Copy[] = []
    for (const name of names) {
      const found = await getObject<Secret>(client, this.#resource, name, { signal })
      const { labels = {}, uid = '', deletionTimestamp, ownerReferences } = found?.metadata ?? {}
      if (found === undefined || labels[partLabel] !== part) continue
      if (deletionTimestamp !== undefined) continue
      copies.push({
        name,
        uid,
        shard: labels[shardLabel] ?? '',
        content: Buffer.from(found.data?.[key] ?? '', 'base64').toString(),
        ownerUid: ownerReferences?.[0]?.uid ?? '',
      })
    }
    // What was made meanwhile is no less there.
    this.#copies = [...copies, ...this.#copies.filter(({ name }) => !names.has(name))]
  }

  /** Names of a shard's Secrets other than this one, as far as they are known. */
  others(shard: string, kept: string): readonly string[] {
    return this.#copies
      .filter((copy) => copy.shard === labelValue(shard) && copy.name !== kept)
      .map(({ name }) => name)
      .sort()
  }

  /** Name of the shard's Secret with this content that this DaemonSet owns; undefined: there is none. */
  find(shard: string, content: string, ownerUid: string): string | undefined {
    const label = labelValue(shard)
    return this.#copies.find(
      (copy) => copy.shard === label && copy.content === content && copy.ownerUid === ownerUid,
    )?.name
  }

  /** Which credential a shard's new pods pull each image with: by reference, its id; '' where that is not known. */
  heldBy(shard: ObservedShard): ReadonlyMap<string, string> {
    const named = copyOf(shard)
    const copy = this.#copies.find(({ name }) => name === named)
    const config = copy === undefined ? undefined : readPullSecret(stored(copy.content))
    return new Map(
      shard.members.map(({ reference }) => [
        reference,
        credentialsFor(reference, config === undefined ? [] : [config])[0]?.id ?? '',
      ]),
    )
  }

  /**
   * A name that no pod named before.
   *
   * @param observed the shard that is to name it
   */
  newName(shard: string, observed: ObservedShard | undefined): string {
    const next = observed === undefined ? undefined : nextName(observed)
    return next === undefined || this.#copies.some(({ name }) => name === next)
      ? `${shard}-${randomBytes(suffixDigits / 2).toString('hex')}`
      : next
  }

  /** Makes the Secret of a shard, which its DaemonSet owns. */
  async create(
    copy: {
      readonly name: string
      readonly shard: string
      readonly content: string
      readonly ownerUid: string
    },
    signal: AbortSignal,
  ): Promise<void> {
    const { client, namespace, base } = this.#options
    const { name, content, ownerUid } = copy
    const shard = labelValue(copy.shard)
    const secret: Secret & Record<string, unknown> = {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: {
        name,
        namespace,
        labels: { [partLabel]: part, [pullerLabel]: labelValue(base), [shardLabel]: shard },
        ownerReferences: [
          { apiVersion: 'apps/v1', kind: 'DaemonSet', name: copy.shard, uid: ownerUid },
        ],
      },
      ...stored(content),
      immutable: true,
    }
    const made = await createObject<Secret>(client, this.#resource, secret, {
      fieldManager,
      signal,
    })
    const uid = made.metadata?.uid ?? ''
    this.#copies = [...this.#copies, { name, uid, shard, content, ownerUid }]
  }

  /** Removes what a shard pulled with before. */
  async removeOthers(shard: string, kept: string, signal: AbortSignal): Promise<void> {
    const others = this.#copies.filter(
      (copy) => copy.shard === labelValue(shard) && copy.name !== kept,
    )
    for (const { name, uid } of others) {
      await deleteObject(this.#options.client, this.#resource, name, { uid, signal })
      this.#copies = this.#copies.filter((copy) => copy.name !== name)
    }
  }

  get #resource() {
    return resourceOf('secrets', this.#options.namespace)
  }
}

/** Hexadecimal digits at the end of a Secret's name. */
const suffixDigits = 16

/**
 * Name of the Secret of kip's that a shard's new pods pull with; undefined: of none. Whatever else another mutator has them name
 * is not kip's to remove, nor to go by.
 */
export function copyOf({
  name,
  pullSecrets,
}: Pick<ObservedShard, 'name' | 'pullSecrets'>): string | undefined {
  const suffix = (secret: string): string => secret.slice(name.length + 1)
  return pullSecrets.findLast(
    (secret) =>
      secret.startsWith(`${name}-`) &&
      suffix(secret).length === suffixDigits &&
      /^[0-9a-f]+$/.test(suffix(secret)),
  )
}

/**
 * Name of the Secret that is made first for a shard as it is: who begins to lead finds there what a leader made that ended
 * before it changed the DaemonSet.
 */
function nextName({ name, uid, generation }: ObservedShard): string {
  return `${name}-${shortHash(`${uid}/${generation}`, suffixDigits)}`
}

/** A docker configuration as a Secret has it. */
function stored(content: string): Pick<Secret, 'type' | 'data'> {
  return {
    type: 'kubernetes.io/dockerconfigjson',
    data: { [key]: Buffer.from(content).toString('base64') },
  }
}
