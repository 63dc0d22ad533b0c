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
  'rg.fr-par.scw.cloud': ['api.scaleway.com'],
  'rg.nl-ams.scw.cloud': ['api.scaleway.com'],
  'rg.pl-waw.scw.cloud': ['api.scaleway.com'],
}

/** Domains under which strangers get names, at any depth: a shared parent there says nothing about a shared owner. */
const sharedDomains =
  /(?:^|\.)(?:azurecr\.io|amazonaws\.com|pkg\.dev|gcr\.io|run\.app|appspot\.com|cloudfront\.net|azurewebsites\.net|windows\.net|github\.io|gitlab\.io|herokuapp\.com|ngrok\.io|ngrok-free\.app|fly\.dev|nip\.io|sslip\.io)$/

/** Where a country's registry gives out names: right below it each name has an owner of its own, who has all below that. */
const countryDomains =
  /^(?:ac|co|com|edu|go|gob|gouv|gov|gv|ltd|me|mil|ne|net|nom|or|org|plc|sch)\.[a-z]{2}$/

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
    trusted.some((host) => URL.parse(`${url.protocol}//${host}/`)?.host === url.host) ||
    (url.protocol === 'https:' &&
      (knownRealms[registry.hostname]?.includes(url.host) === true ||
        sameOwner(registry.hostname, url.hostname)))
  return { url, showCredential }
}

/**
 * Whether two names are one owner's, as far as names tell.
 *
 * myreg.io and auth.myreg.io: who has a name in DNS decides about all below it. Not below a domain that is shared: at github.io
 * itself anybody gets such a name.
 *
 * registry.example.com and auth.example.com, or example.com itself: the same, unless the parent is shared by many. There is no
 * list of all domains that are, so of registries right below a top-level domain nothing is concluded, and what is concluded
 * wrongly shows no more than the registry could ask to be shown itself (`Basic`), save for an identity token.
 */
function sameOwner(registry: string, realm: string): boolean {
  if (isAddress(registry) || isShared(registry)) return false
  if (registry.includes('.') && realm.endsWith(`.${registry}`)) return true
  const parent = registry.slice(registry.indexOf('.') + 1)
  if (!parent.includes('.') || isShared(parent)) return false
  return realm === parent || realm.endsWith(`.${parent}`)
}

function isAddress(hostname: string): boolean {
  return /^[\d.]+$|:/.test(hostname)
}

function isShared(domain: string): boolean {
  return sharedDomains.test(domain) || countryDomains.test(domain)
}
