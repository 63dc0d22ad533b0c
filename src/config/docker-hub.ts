import type { Settings } from './settings.ts'

/**
 * The settings with Docker Hub called `docker.io`, as in normalised references, which are compared with them: for
 * `index.docker.io`, its other name, no credential would be found and no host allowed.
 */
export function nameDockerHub(settings: Settings): Settings {
  const { mirror, registries } = settings
  return {
    ...settings,
    mirror: { ...mirror, registry: nameRegistry(mirror.registry) },
    registries: {
      ...registries,
      http: registries.http.map(nameRegistry),
      allow: registries.allow.map(nameRegistry),
    },
  }
}

/** A registry, with a path below it or not, by its name in normalised references. */
export function nameRegistry(registry: string): string {
  return registry.replace(/^index\.docker\.io(?=\/|$)/, 'docker.io')
}
