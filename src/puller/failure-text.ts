/**
 * Says in kip's own words why a kubelet could not pull an image.
 *
 * The kubelet's message may quote a registry at length, and whoever chose the image chose the registry: its bytes stay
 * in the pod, where `kubectl describe` shows them, and a status gets one of these sentences.
 *
 * @param reason the kubelet's waiting reason
 * @param message the kubelet's message
 */
export function failureText(reason: string, message: string): string {
  if (reason === 'InvalidImageName') return 'the kubelet takes this for no image reference'
  if (reason === 'ErrImageNeverPull') return 'the pod may not pull it (imagePullPolicy: Never)'
  if (reason === 'CreateContainerError') return 'the node pulled it and cannot mount it'
  for (const [pattern, text] of patterns) if (pattern.test(message)) return text
  return unknownText
}

/** What is said when the kubelet's words tell nothing. */
export const unknownText = 'the node cannot pull it'

/** Containerd's, CRI-O's and registries' usual words, from the most to the least telling. */
const patterns: readonly (readonly [RegExp, string])[] = [
  [
    /no match for platform|no matching manifest|no image found in (?:image index|manifest list) for/i,
    'the image has nothing for the platform of the node',
  ],
  [/\b429\b|too many requests|toomanyrequests|rate limit/i, 'the registry limits the rate'],
  [/pull QPS exceeded/i, 'the kubelet limits its pulls for now'],
  [
    /\b401\b|unauthorized|authentication required|no basic auth|failed to fetch (?:anonymous|oauth) token/i,
    'the registry asks for credentials',
  ],
  [
    /\b403\b|forbidden|denied|insufficient_scope|authorization failed/i,
    'the registry denies access, or has no such repository',
  ],
  [
    /not found|\b404\b|manifest[ _]unknown|name[ _]unknown|does not exist/i,
    'the registry does not have it',
  ],
  [/no such host|server misbehaving|name resolution|lookup .* on /i, 'the host has no address'],
  [/x509|certificate|tls: /i, 'the TLS certificate of the registry is not trusted by the node'],
  [
    /server gave HTTP response to HTTPS client/i,
    'the registry speaks plain http, which the node is not told of',
  ],
  [/connection refused/i, 'the registry refuses connections'],
  [/no route to host|network is unreachable/i, 'the node has no route to the registry'],
  [/timeout|deadline exceeded|timed out/i, 'the registry does not answer in time'],
  [/no space left|disk quota/i, 'the disk of the node is full'],
  [/connection reset|unexpected EOF|broken pipe|EOF\b/i, 'the registry breaks off'],
  [/\b5\d\d\b|internal server error|bad gateway|service unavailable/i, 'the registry has a fault'],
  [
    /unexpected commit digest|digest mismatch|size validation/i,
    'the bytes are not what was asked for',
  ],
]
