export type { Credential, CredentialSource } from './auth/credential.ts'
export { type DockerCredentialsOptions, dockerCredentials } from './auth/credential-helper.ts'
export { type DockerConfig, parseDockerConfig } from './auth/docker-config.ts'
export { createKeyring, type Keyring } from './auth/keyring.ts'
export type { AroundChoice } from './copy/around.ts'
export { type CopyOptions, type CopyResult, copyImage } from './copy/copy-image.ts'
export {
  type CopyImagesOptions,
  type CopyItem,
  type CopyOutcome,
  copyImages,
} from './copy/copy-images.ts'
export { type CreatedAtOptions, createdAt } from './copy/created-at.ts'
export { type DeleteTagOptions, deleteTag } from './copy/delete-tag.ts'
export { describeImage, type ImageDescription } from './copy/describe-image.ts'
export { type ListTagsOptions, listTags } from './copy/list-tags.ts'
export { type CopyPlan, type PlanOptions, planCopy } from './copy/plan-copy.ts'
export { type ResolvedImage, resolveDigest } from './copy/resolve-digest.ts'
export { type VerifyOptions, verifyImage } from './copy/verify-image.ts'
export {
  type AnswerClass,
  type BlobCounters,
  type Counters,
  type HostCounters,
  otherHosts,
  type RequestKind,
} from './counters.ts'
export { isDigest } from './digest.ts'
export {
  CredentialConfigError,
  ImageReferenceError,
  RegistryError,
  type RegistryErrorCode,
  type RegistryErrorDetails,
} from './errors.ts'
export type { CopyEvent, Job, RateLimit } from './events.ts'
export {
  type AddressPolicyOptions,
  type AllowAddress,
  addressPolicy,
  type DialPurpose,
  defaultAddressPolicy,
  publicAddressesOnly,
} from './http/address.ts'
export { faultOfAuthorities } from './http/authorities.ts'
export { type ProxyChoice, type ProxyVariables, proxyFromVariables } from './http/proxy.ts'
export { faultOfClientCertificate } from './http/tls-identity.ts'
export { faultOfPlatform } from './image/platform.ts'
export {
  type MetricFamily,
  type MetricSample,
  metricFamilies,
  openMetrics,
} from './open-metrics.ts'
export {
  formatReference,
  type ImageReference,
  isRegistryHost,
  isRepository,
  isTag,
  parseReference,
} from './reference.ts'
export { BlobPlaces } from './registry/blob-places.ts'
export {
  createRegistryClient,
  defaultTimeouts,
  type HostOptions,
  type RegistryClient,
  type RegistryClientOptions,
  serverOf,
  type TokenExchange,
} from './registry/client.ts'
export type { Timeouts } from './registry/requests.ts'
export { defaultRetry, type RetryOptions } from './registry/retry.ts'
export { selectTags, type TagSelection } from './selection/select-tags.ts'
export { faultOfTagPattern } from './selection/tag-pattern.ts'
export { faultOfVersionRange } from './selection/version-range.ts'
