/** A certificate authority: its certificate and the key that signs, both PEM. */
export interface Authority {
  readonly certificate: string
  readonly key: string
}

/** What a TLS server shows: certificate (or chain) and key, both PEM. */
export interface ServingPair {
  readonly certificate: string
  readonly key: string
}

/** All that kip keeps of an identity of its own, as it stands in the Secret. */
export interface StoredIdentity {
  /** Signs what is served. */
  readonly signer: Authority
  /** Already in the bundle that clients trust, takes over once they had the time to learn of it. */
  readonly next?: Authority
  /** Certificates of former signers, still trusted while a replica may serve what they signed. */
  readonly retired: readonly string[]
  readonly serving: ServingPair
}

/** What to serve, and whom clients must trust for it. */
export interface ServingIdentity extends ServingPair {
  /** PEM bundle for a `caBundle`; empty: the system's authorities signed it. */
  readonly bundle: string
}

/** Everything a client must trust while replicas change from one authority to another. */
export function bundleOf(identity: StoredIdentity): string {
  const { signer, next, retired } = identity
  const all = [signer.certificate, ...(next ? [next.certificate] : []), ...retired]
  return all.join('\n')
}
