/** The one user of a registry that lets in only whom it knows. */
export const registryUser = { username: 'kip', password: 'secret' } as const

/** {@link registryUser} as an htpasswd file; Node has no bcrypt, which is the only hash that the registry takes. */
export const registryUserFile = 'kip:$2b$04$bvC7s8.IXia9Ehrtu4orsewJVIbnYpJQndtNNrqk.KS327ZKWC.be\n'

export interface RegistryConfig {
  /** `host:port` to listen on; port 0 lets the kernel choose. */
  readonly listen: string
  readonly storageFolder: string
  /** PEM files; default: plain http. */
  readonly tls?: { readonly certificateFile: string; readonly keyFile: string }
  /** Log requests and errors only; default: what it does, too, such as the port that it listens on. */
  readonly quiet?: boolean
  /** File with the users that are let in; default: everybody. */
  readonly htpasswdFile?: string
  /** Take indexes of which some images are missing, as distribution 3 can. */
  readonly sparse?: boolean
  /** Let images and tags be deleted. Default true. */
  readonly deletes?: boolean
}

/**
 * The configuration file of Debian's docker-registry (distribution 2.8): each request is one line of the
 * combined log format on standard output.
 */
export function registryConfig(options: RegistryConfig): string {
  const tls = options.tls && {
    tls: { certificate: options.tls.certificateFile, key: options.tls.keyFile },
  }
  const auth = options.htpasswdFile && {
    auth: { htpasswd: { realm: 'kip test', path: options.htpasswdFile } },
  }
  // JSON is YAML.
  return JSON.stringify({
    version: 0.1,
    log: { level: options.quiet ? 'error' : 'info', accesslog: { disabled: false } },
    storage: {
      filesystem: { rootdirectory: options.storageFolder, maxthreads: 100 },
      delete: { enabled: options.deletes !== false },
      // A purge of old uploads starts by itself within the first hour, and walks the whole storage.
      maintenance: { uploadpurging: { enabled: false } },
    },
    // Images with foreign layers are refused otherwise.
    validation: {
      manifests: {
        urls: { allow: ['^https://'] },
        ...(options.sparse && { indexes: { platforms: 'none' } }),
      },
    },
    http: { addr: options.listen, ...tls },
    ...auth,
  })
}

/** The port in the line that a registry says when it listens. */
export function listeningPort(log: string): number | undefined {
  const ports = [...log.matchAll(/listening on \S+?:(\d+)(?:, tls)?["\s]/g)]
  const last = ports.at(-1)?.[1]
  return last === undefined ? undefined : Number(last)
}
