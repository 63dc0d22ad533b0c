import type { PodSpec } from '../kube/types.ts'

/** A ConfigMap whose keys are variables of a pod. */
export interface MapSource {
  readonly name: string
  readonly prefix: string
  /** A pod starts without it too. */
  readonly isOptional: boolean
}

/** Where the variables of a pod come from. */
export interface EnvSources {
  /** By precedence, the least first. */
  readonly maps: readonly MapSource[]
  /** Variables that are set otherwise, and win. */
  readonly fixed: ReadonlySet<string>
}

/** Reads of a pod spec where the variables of its containers come from. */
export function sourcesOf(spec: PodSpec): EnvSources {
  const containers = spec.containers ?? []
  return {
    maps: containers.flatMap(({ envFrom = [] }) =>
      envFrom.flatMap(({ prefix = '', configMapRef }) =>
        configMapRef?.name === undefined
          ? []
          : [{ name: configMapRef.name, prefix, isOptional: configMapRef.optional === true }],
      ),
    ),
    fixed: new Set(containers.flatMap(({ env = [] }) => env.map(({ name }) => name))),
  }
}
