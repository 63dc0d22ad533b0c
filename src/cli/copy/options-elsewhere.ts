const allPlatforms = 'every platform is copied unless --platform names some'
const trust = 'write --http HOST for plain http, or --ca FILE for an authority of your own'
const secret = (option: string): string =>
  `write ${option} FILE, as docker login writes it; everybody on the machine can read arguments`

/** Options by which skopeo, crane and others do what `kip copy` does in another way, and that way. */
export const optionsElsewhere: Readonly<Record<string, string>> = {
  '--all': allPlatforms,
  '-a': allPlatforms,
  '--multi-arch': allPlatforms,
  '--preserve-digests': 'digests always stay',
  '--creds': secret('--authfile'),
  '--src-creds': secret('--src-authfile'),
  '--dest-creds': secret('--dest-authfile'),
  '--insecure': trust,
  '--tls-verify': trust,
  '--src-tls-verify': trust,
  '--dest-tls-verify': trust,
}
