/** A coordination.k8s.io/v1 Lease in raw JSON. What is not named here is kept as it is. */
export interface Lease {
  readonly apiVersion?: string
  readonly kind?: string
  readonly metadata?: {
    readonly name?: string
    readonly namespace?: string
    readonly uid?: string
    readonly resourceVersion?: string
    readonly annotations?: Readonly<Record<string, string>>
  }
  readonly spec?: {
    readonly holderIdentity?: string | null
    readonly leaseDurationSeconds?: number | null
    readonly acquireTime?: string | null
    readonly renewTime?: string | null
    readonly leaseTransitions?: number | null
  } | null
}

/**
 * What an elector asks of an API client, for one Lease. Errors bear the HTTP status in `status`; each method honours its
 * signal, and an elector does without that.
 */
export interface LeaseApi {
  /** undefined: there is none. */
  get(signal: AbortSignal): Promise<Lease | undefined>
  create(lease: Lease, signal: AbortSignal): Promise<Lease>
  /** Replaces the Lease whose resourceVersion is sent; rejects with status 409 when that is not the newest. */
  update(lease: Lease, signal: AbortSignal): Promise<Lease>
  /** Calls back on each change until the signal aborts; undefined: it was deleted. Only makes things quicker. */
  watch?(onChange: (lease: Lease | undefined) => void, signal: AbortSignal): Promise<void>
}

/**
 * While an elector of this package holds the Lease, this annotation says in which term; its release removes it. A Lease
 * without a holder that still bears the mark of its last term was not released but wiped, by a client-go elector that
 * had been paused, or by hand: its holder may still lead, and is given the time of a lease.
 */
export const termAnnotation = 'lease-lock/term'

/** A Lease as the protocol sees it; whatever is missing or malformed reads as empty. */
export interface LeaseRecord {
  readonly uid: string
  readonly version: string
  readonly holder: string
  /** 0: none that can be read. */
  readonly durationMs: number
  readonly acquireTime: string
  readonly renewTime: string
  readonly transitions: number
  /** The number of the last term of this package's that was not released; -1: none. */
  readonly mark: number
  /** The mark is of this very term. */
  readonly marked: boolean
}

/** Reads what a Lease says; whatever is missing or odd reads as a Lease that nobody holds. */
export function readRecord(lease: Lease): LeaseRecord {
  const spec = lease.spec ?? {}
  const mark = lease.metadata?.annotations?.[termAnnotation]
  const transitions = number(spec.leaseTransitions)
  return {
    uid: text(lease.metadata?.uid),
    version: text(lease.metadata?.resourceVersion),
    holder: text(spec.holderIdentity),
    durationMs: Math.max(0, number(spec.leaseDurationSeconds)) * 1000,
    acquireTime: text(spec.acquireTime),
    renewTime: text(spec.renewTime),
    transitions,
    mark: mark !== undefined && /^\d{1,9}$/.test(mark) ? Number(mark) : -1,
    marked: mark !== undefined && (mark === String(transitions) || spec.leaseTransitions == null),
  }
}

/**
 * Two sights of one record are the same exactly when its holder did not renew it in between. One without a holder is never
 * renewed, but may be put there again over a term that nobody else saw.
 */
export function signatureOf(record: LeaseRecord): string {
  const { uid, holder, durationMs, acquireTime, renewTime, transitions, marked } = record
  const own = [uid, holder, durationMs, acquireTime, renewTime, transitions, marked]
  return JSON.stringify(holder === '' ? [...own, record.version] : own)
}

/** Its version as a number that grows; one that is none counts as the newest. */
export function versionOf(lease: Lease): number {
  const version = Number(lease.metadata?.resourceVersion ?? Number.NaN)
  return Number.isSafeInteger(version) ? version : Number.MAX_SAFE_INTEGER
}

export interface Claim {
  readonly holder: string
  readonly durationMs: number
  readonly acquireTime: string
  readonly renewTime: string
  readonly transitions: number
}

/** The Lease to write for a claim, over the one that was read; all else of it stays. */
export function claimLease(base: Lease | undefined, claim: Claim): Lease {
  return {
    ...base,
    metadata: {
      ...base?.metadata,
      annotations: {
        ...base?.metadata?.annotations,
        [termAnnotation]: String(claim.transitions),
      },
    },
    spec: { ...base?.spec, ...specOf(claim) },
  }
}

/**
 * The Lease to create where there is none. Who held the one that is gone, until a moment ago, nobody can say, nor whether
 * others came and went unseen; so this one is held by nobody and marked, and whoever sees it waits the time of a lease.
 */
export function placeholderLease(durationMs: number, time: string, transitions: number): Lease {
  return {
    metadata: { annotations: { [termAnnotation]: String(transitions) } },
    spec: specOf({ holder: '', durationMs, acquireTime: time, renewTime: time, transitions }),
  }
}

/** A Lease to create anew, with the labels and annotations of one that was deleted. */
export function freshLease(gone: Lease): Lease {
  const { uid: _uid, resourceVersion: _version, ...metadata } = gone.metadata ?? {}
  // What the server stamped on the old one is not the new one's.
  const stamped = ['creationTimestamp', 'generation', 'managedFields', 'selfLink']
  const kept = Object.entries(metadata).filter(([name]) => !stamped.includes(name))
  return { ...gone, metadata: Object.fromEntries(kept) }
}

/** The Lease to write when its holder gives it up. One second is the shortest duration that the API server takes. */
export function releaseLease(base: Lease, time: string): Lease {
  const { [termAnnotation]: _term, ...annotations } = base.metadata?.annotations ?? {}
  return {
    ...base,
    metadata: { ...base.metadata, annotations },
    spec: {
      ...base.spec,
      ...specOf({
        holder: '',
        durationMs: 1000,
        acquireTime: time,
        renewTime: time,
        transitions: readRecord(base).transitions,
      }),
    },
  }
}

function specOf(claim: Claim): NonNullable<Lease['spec']> {
  return {
    holderIdentity: claim.holder,
    leaseDurationSeconds: Math.ceil(claim.durationMs / 1000),
    acquireTime: claim.acquireTime,
    renewTime: claim.renewTime,
    leaseTransitions: claim.transitions,
  }
}

/**
 * A MicroTime: RFC 3339 with exactly six digits of a second. The API server refuses any other width with 400, and an
 * elector that sends one looks healthy and never leads.
 */
export function microTime(epochMs: number): string {
  const micros = Math.floor(epochMs * 1000)
  const seconds = Math.floor(micros / 1_000_000)
  const rest = String(micros - seconds * 1_000_000).padStart(6, '0')
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${rest}Z`
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function number(value: unknown): number {
  return typeof value === 'number' && Number.isFinite(value) ? value : 0
}
