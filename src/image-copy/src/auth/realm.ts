import { printable, RegistryError } from '../errors.ts'

/** What is known when a registry names a token realm. */
export interface RealmContext {
  /** The registry's own address. */
  readonly registry: URL
  /** More hosts (`host[:port]`) that may be given the registry's credentials, by the caller's word. */
  readonly trusted: readonly string[]
}

/** Where to ask for a token, and whether to show a credential there. */
export interface Realm {
  readonly url: URL
  readonly showCredential: boolean
}

/** Realms away from their registry that are known to be its own. */
const knownRealms: Readonly<Record<string, readonly string[]>> = {
  'registry-1.docker.io': ['auth.docker.io'],
  'docker.io': ['auth.docker.io'],
  'index.docker.io': ['auth.docker.io'],
  'registry.gitlab.com': ['gitlab.com'],
  'icr.io': ['iam.cloud.ibm.com'],
  'nvcr.io': ['authn.nvidia.com'],
  'registry.redhat.io': ['sso.redhat.com'],
  'registry.connect.redhat.com': ['sso.redhat.com'],
}

/** Domains under which strangers get names: a shared parent there says nothing about a shared owner. */
const sharedDomains =
  /(?:^|\.)(?:azurecr\.io|amazonaws\.com|pkg\.dev|gcr\.io|run\.app|appspot\.com|cloudfront\.net|azurewebsites\.net|windows\.net|github\.io|gitlab\.io|herokuapp\.com|ngrok\.io|ngrok-free\.app|fly\.dev|nip\.io|sslip\.io|(?:co|com|org|net|gov|ac|edu)\.[a-z]{2})$/

/**
 * Judges a realm. It is the registry's word and may be an attack, so: https unless the registry itself is spoken to by
 * http, no user information, no fragment; and a credential is shown only to the registry's own host, to a host of the same
 * owner by name, or to one that the caller trusts. Elsewhere the token is asked for anonymously.
 *
 * @throws RegistryError `COPY_REALM_REFUSED`
 */
export function judgeRealm(realm: string, { registry, trusted }: RealmContext): Realm {
  const refuse = (why: string): never => {
    throw new RegistryError(
      'COPY_REALM_REFUSED',
      `${registry.host} names the token realm "${printable(realm, 200)}", which ${why}`,
      { host: registry.host },
    )
  }
  const url = URL.canParse(realm) ? new URL(realm) : refuse('is no URL')
  if (url.protocol !== 'https:' && url.protocol !== 'http:') refuse('is neither https nor http')
  if (url.protocol === 'http:' && registry.protocol !== 'http:')
    refuse('would send credentials over plain http')
  if (url.username !== '' || url.password !== '') refuse('holds user information')
  if (url.hash !== '') refuse('holds a fragment')
  const showCredential =
    url.hostname === registry.hostname ||
    trusted.includes(url.host) ||
    (url.protocol === 'https:' &&
      (knownRealms[registry.hostname]?.includes(url.host) === true ||
        sameOwner(registry.hostname, url.hostname)))
  return { url, showCredential }
}

/** registry.example.com and auth.example.com, or example.com itself: one owner, unless the parent is shared by many. */
function sameOwner(registry: string, realm: string): boolean {
  const parent = registry.slice(registry.indexOf('.') + 1)
  if (!parent.includes('.') || /^[\d.]+$|:/.test(registry) || sharedDomains.test(parent))
    return false
  return realm === parent || realm.endsWith(`.${parent}`)
}
