/** One request to the API server. */
export interface KubeRequest {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Path below the server's base, as `resourcePath` makes it. */
  readonly path: string
  /** Entries that are undefined are left out. */
  readonly query?: Readonly<Record<string, string | undefined>>
  /** Sent as JSON. */
  readonly body?: unknown
  /** Default `application/json`; patches name their own. */
  readonly contentType?: string
  /** Default `application/json`. */
  readonly accept?: string
  /** Time for the whole answer; for a stream, time until its headers. Default 30 s. */
  readonly timeoutMs?: number
  /** Called when a connection is there and the first byte is about to go out; what it throws, the request rejects with. */
  readonly beforeSending?: () => void
  /** Added to the user agent, for the API server's audit log. */
  readonly remark?: string
  readonly signal: AbortSignal
}

/** An answer as it came, for readers that decode by themselves. */
export interface RawAnswer {
  readonly contentType: string
  readonly body: Buffer
}

/** Takes a stream as it comes. What it throws ends the stream. */
export interface StreamSink {
  /** The answer begins. */
  begin(contentType: string): void
  /** Some bytes of its body; they are the socket's, and not to be kept. */
  chunk(chunk: Buffer): void
  /** For how many milliseconds what comes next may be gathered, asked when all that had come was taken. Default: not at all. */
  restMs?(): number
}

/**
 * The one way to the API server: shared connections, authentication, and errors with status and reason.
 *
 * Every method rejects with a `KubeApiError`, or with the signal's reason when it was aborted. Nothing is tried again
 * here: who asks knows best whether, and when, to ask again.
 */
export interface KubeClient {
  /** Base URL. */
  readonly server: string
  /** Namespace of the kubeconfig's context or of the pod; `default` where neither says. */
  readonly namespace: string
  request<T>(request: KubeRequest): Promise<T>
  raw(request: KubeRequest): Promise<RawAnswer>
  /** Resolves at the end of the body. */
  stream(request: KubeRequest, sink: StreamSink): Promise<void>
  /** Ends all connections; requests under way reject. */
  close(): Promise<void>
}
