import type { Leaf } from './leaves.ts'

/** A setting's value from one source, and how the user spelled it there: `--mirror.registry`, `NAMESPACE`, `kip.yaml: port`. */
export interface Given {
  readonly value: unknown
  readonly spelled: string
}

/** What one source says. */
export interface Source {
  readonly values: ReadonlyMap<Leaf, Given>
  readonly faults: readonly string[]
  readonly warnings: readonly string[]
}

/** A source from the command line or environment, which may also name the file. */
export interface NamingSource extends Source {
  readonly configFile: string | undefined
}
