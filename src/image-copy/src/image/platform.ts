/** What a manifest of an index is for. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string | undefined
  readonly osVersion?: string | undefined
}

/** `linux/arm64/v8`, as users write it. */
export function formatPlatform({ os, architecture, variant }: Platform): string {
  return variant === undefined ? `${os}/${architecture}` : `${os}/${architecture}/${variant}`
}

/**
 * Reads `os/architecture[/variant]`. Common other names of architectures are understood, and `arm64` is `arm64/v8`, `arm`
 * is `arm/v7`, as containerd has it.
 *
 * @throws TypeError
 */
export function parsePlatform(text: string): Platform {
  const fault = faultOfPlatform(text)
  if (fault !== undefined)
    throw new TypeError(`platform ${JSON.stringify(text.slice(0, 100))}: ${fault}`)
  const [, os = '', architecture = '', variant] = form.exec(text.trim()) ?? []
  return normalizePlatform({ os, architecture, variant })
}

const form = /^([a-z0-9]+)\/([a-z0-9_-]+)(?:\/([a-z0-9.]+))?$/i

/** What is wrong with `os/architecture[/variant]` as an option of a copy has it; undefined when nothing is. */
export function faultOfPlatform(text: string): string | undefined {
  return form.test(text.trim()) ? undefined : 'give one like linux/amd64 or linux/arm/v7'
}

/** One spelling for each platform. */
export function normalizePlatform({ os, architecture, variant, osVersion }: Platform): Platform {
  const system = os.toLowerCase() === 'macos' ? 'darwin' : os.toLowerCase()
  const [name, implied] = architectureOf(architecture.toLowerCase())
  const kind = variant === undefined || variant === '' ? implied : variant.toLowerCase()
  // v8 is what arm64 means, and is left out by most and written by some.
  const shown =
    name === 'arm64' && (kind === 'v8' || kind === '8')
      ? undefined
      : name === 'arm'
        ? (kind ?? 'v7')
        : kind
  return {
    os: system,
    architecture: name,
    ...(shown === undefined ? {} : { variant: /^\d$/.test(shown) ? `v${shown}` : shown }),
    ...(osVersion === undefined ? {} : { osVersion }),
  }
}

/** Whether a manifest for `platform` is meant by `wanted`; both normalised. */
export function matchesPlatform(platform: Platform, wanted: Platform): boolean {
  return formatPlatform(platform) === formatPlatform(wanted)
}

function architectureOf(name: string): [string, string | undefined] {
  switch (name) {
    case 'x86_64':
    case 'x86-64':
      return ['amd64', undefined]
    case 'aarch64':
      return ['arm64', undefined]
    case 'i386':
    case 'i686':
      return ['386', undefined]
    case 'armhf':
      return ['arm', 'v7']
    case 'armel':
      return ['arm', 'v6']
    default:
      return [name, undefined]
  }
}
