/** What TLS to the API server is made of; PEM. */
export interface TlsMaterial {
  readonly ca?: string | Buffer
  readonly cert?: string | Buffer
  readonly key?: string | Buffer
  readonly serverName?: string
  /** The server's certificate is not checked. */
  readonly insecure?: boolean
}

export interface Credentials {
  /** Authorization and impersonation. */
  readonly headers: Readonly<Record<string, string>>
  readonly tls: TlsMaterial
}

/** Where the API server is, and how to be let in; behind it a service account, a kubeconfig, or a test. */
export interface ClusterAccess {
  /** Base URL. */
  readonly server: string
  /** http(s) or socks5 proxy on the way. */
  readonly proxyUrl?: string
  readonly namespace: string
  /**
   * Credentials as of now; cheap to call before every request.
   *
   * @param refused - those that the server answered 401 to: whatever is cached of them is to be read anew
   */
  credentials(refused?: Credentials): Promise<Credentials>
}
