import { RegistryError } from '../errors.ts'
import { type Descriptor, type Manifest, parseManifest } from '../image/manifest.ts'
import { isManifestEntry } from '../image/media-types.ts'
import {
  formatPlatform,
  matchesPlatform,
  normalizePlatform,
  type Platform,
} from '../image/platform.ts'
import { formatReference } from '../reference.ts'
import type { Context } from '../registry/context.ts'
import { getManifest } from '../registry/manifests.ts'
import { describeRepository, type Repository } from '../registry/repository.ts'
import { readImageConfig } from './image-config.ts'

/** buildkit marks what belongs to another manifest of the same index so. */
const attestationType = 'vnd.docker.reference.type'
const attestationOf = 'vnd.docker.reference.digest'

/** Whether a manifest of an index says something about another one, and is no image to run. */
export function isAttestation(entry: Descriptor): boolean {
  return entry.annotations?.[attestationType] === 'attestation-manifest'
}

/**
 * Chooses the manifests of an index that are for one of `wanted`, with their attestations. A nested index is chosen whole.
 * Only a manifest whose entry names no platform costs requests: its configuration is read.
 *
 * @throws RegistryError `COPY_PLATFORM_MISSING` when one of `wanted` matches nothing
 */
export async function selectPlatforms(
  source: Repository,
  entries: readonly Descriptor[],
  wanted: readonly Platform[],
  context: Context,
): Promise<readonly Descriptor[]> {
  const missing = new Set(wanted)
  const chosen = new Set<Descriptor>()
  const offered: string[] = []
  for (const entry of entries) {
    if (isAttestation(entry)) continue
    const readable = isManifestEntry(entry.mediaType)
    const platform = entry.platform ?? (readable && (await platformOfEntry(source, entry, context)))
    if (!platform) {
      chosen.add(entry)
      continue
    }
    offered.push(formatPlatform(platform))
    for (const want of wanted) {
      if (!matchesPlatform(platform, want)) continue
      chosen.add(entry)
      missing.delete(want)
    }
  }
  requireNone(source, [...missing], offered)
  const digests = new Set([...chosen].map(({ digest }) => digest))
  return entries.filter(
    (entry) =>
      chosen.has(entry) ||
      (isAttestation(entry) && digests.has(entry.annotations?.[attestationOf] ?? '')),
  )
}

/** Most of those asked for that an error names. */
const mostNamed = 10

/**
 * Where the images of an index for `wanted` are by themselves, for an error: `linux/arm64 = host/repository@sha256:…`. One whose
 * entry names no platform is passed over.
 */
export function placesOfPlatforms(
  { registry, name: repository }: Repository,
  entries: readonly Descriptor[],
  wanted: readonly Platform[],
): string {
  const places = entries.flatMap((entry) => {
    const { platform, digest } = entry
    if (platform === undefined || isAttestation(entry)) return []
    if (!wanted.some((want) => matchesPlatform(platform, want))) return []
    return [`${formatPlatform(platform)} = ${formatReference({ registry, repository, digest })}`]
  })
  const more = places.length - mostNamed
  return places.slice(0, mostNamed).join(', ') + (more > 0 ? ` and ${more} more` : '')
}

/** Holds a single image against the platforms asked for. @throws RegistryError `COPY_PLATFORM_MISSING` */
export async function requirePlatform(
  source: Repository,
  manifest: Manifest,
  wanted: readonly Platform[],
  context: Context,
): Promise<void> {
  const platform = await platformOfManifest(source, manifest, context)
  if (platform === undefined) return
  const missing = wanted.filter((want) => !matchesPlatform(platform, want))
  requireNone(source, missing, [formatPlatform(platform)])
}

/** What an image's own configuration says it is for; undefined for artifacts and indexes. */
export async function platformOfManifest(
  source: Repository,
  manifest: Manifest,
  context: Context,
): Promise<Platform | undefined> {
  const { os, architecture, variant } = (await readImageConfig(source, manifest, context)) ?? {}
  if (typeof os !== 'string' || typeof architecture !== 'string') return undefined
  return normalizePlatform({
    os,
    architecture,
    variant: typeof variant === 'string' ? variant : undefined,
  })
}

async function platformOfEntry(
  source: Repository,
  entry: Descriptor,
  context: Context,
): Promise<Platform | undefined> {
  const { bytes, mediaType } = await getManifest(source, entry.digest, context)
  const manifest = parseManifest(bytes, entry.mediaType || mediaType, entry.digest, source.party)
  return platformOfManifest(source, manifest, context)
}

function requireNone(
  source: Repository,
  missing: readonly Platform[],
  offered: readonly string[],
): void {
  if (missing.length === 0) return
  const names = missing.map(formatPlatform).join(', ')
  throw new RegistryError(
    'COPY_PLATFORM_MISSING',
    `${describeRepository(source)}: has nothing for ${names}; it has ${[...new Set(offered)].slice(0, 30).join(', ') || 'no platforms'}`,
    source.party,
  )
}
