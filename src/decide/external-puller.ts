import type { Settings } from '../config/settings.ts'

/** What the ConfigMap of a kubernetes-image-puller says that is not kip. */
export type ExternalData = Readonly<Record<string, string>>

/** The settings by which it is decided what that puller holds: with the pull secrets that its pods have, which are none of kip's. */
export function externalSettings(settings: Settings, data: ExternalData): Settings {
  const imagePullSecrets = (data.IMAGE_PULL_SECRETS ?? '').split(';').filter(Boolean)
  return {
    ...settings,
    mirror: { ...settings.mirror, pullSecret: '' },
    puller: { ...settings.puller, imagePullSecrets },
  }
}
