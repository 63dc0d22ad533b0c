import type { ObjectMeta, OwnerReference } from './types.ts'

/** Who made an object and keeps it; undefined: nobody does. */
export function controllerOf(
  metadata: Pick<ObjectMeta, 'ownerReferences'> | undefined,
): OwnerReference | undefined {
  return metadata?.ownerReferences?.find(({ controller }) => controller === true)
}

/** API group of an owner; empty: the core group. */
export function groupOf({ apiVersion }: Pick<OwnerReference, 'apiVersion'>): string {
  const slash = apiVersion.indexOf('/')
  return slash < 0 ? '' : apiVersion.slice(0, slash)
}
