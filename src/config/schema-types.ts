/** A value of settings that is given as a whole: a scalar, a list, or a map whose keys the user chooses. */
export interface SettingSchema<T> {
  readonly type: 'string' | 'integer' | 'number' | 'boolean' | 'array' | 'object'
  readonly description: string
  readonly default: T
  /** Besides the derived `KIP_…`, in order of precedence. */
  readonly 'x-env'?: readonly string[]
  /** Besides the derived `--path.to.setting`, without dashes. */
  readonly 'x-flag'?: readonly string[]
  /** The value is a credential: it stands in no message. */
  readonly 'x-secret'?: true
  /** What the value has to be, where a pattern says it too briefly: "… is not <this>". */
  readonly 'x-expects'?: string
  readonly enum?: readonly string[]
  readonly pattern?: string
  readonly minLength?: number
  readonly maxLength?: number
  readonly minimum?: number
  readonly exclusiveMinimum?: number
  readonly maximum?: number
  /** Without defaults, as are `properties`: what a value leaves out stays out, and who reads it says what that means. */
  readonly items?: object
  readonly properties?: object
  readonly propertyNames?: object
  readonly additionalProperties?: boolean | object
}

/** A group of settings; the file knows no keys besides. */
export interface SectionSchema<T> {
  readonly type: 'object'
  readonly description: string
  readonly additionalProperties: false
  readonly properties: { readonly [K in keyof T]: NodeSchema<T[K]> }
}

/** Records and arrays are values; an interface with keys of its own is a section. */
export type NodeSchema<T> = [T] extends [string | number | boolean | readonly unknown[]]
  ? SettingSchema<T>
  : string extends keyof T
    ? SettingSchema<T>
    : SectionSchema<T>
