import { after, before, describe } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { copySuite, type SuiteWorld } from '../../support/copy-suite.ts'
import { type IndependentTools, independentTools } from '../../support/independent-tools.ts'
import {
  type RegistryKind,
  startRegistry,
  type TestRegistry,
  whyNoRegistry,
} from '../../support/registry.ts'

const long = process.env.KIP_TEST_LONG === '1'
type Manner = 'http' | 'TLS' | 'authentication'
type Pair = readonly [source: RegistryKind, target: RegistryKind, manner: Manner]

const kinds = ['distribution 2.8', 'distribution 3', 'go-containerregistry'] as const
/** Each as source and as target, each manner of speaking. */
const sample: readonly Pair[] = [
  ['distribution 2.8', 'distribution 2.8', 'TLS'],
  ['distribution 2.8', 'distribution 3', 'authentication'],
  ['distribution 3', 'go-containerregistry', 'http'],
  ['go-containerregistry', 'distribution 2.8', 'http'],
]
const all: readonly Pair[] = kinds.flatMap((source) =>
  kinds.flatMap((target) =>
    (['http', 'TLS', 'authentication'] as const)
      .filter((manner) => manner !== 'authentication' || !`${source}${target}`.includes('go-'))
      .map((manner): Pair => [source, target, manner]),
  ),
)

for (const [from, to, manner] of long ? all : sample) {
  const reason = (await whyNoRegistry(from)) ?? (await whyNoRegistry(to))
  describe(`copies from ${from} to ${to} (${manner})`, { skip: reason ?? false }, () => {
    let registries: TestRegistry[] = []
    let independent: IndependentTools
    let world: SuiteWorld
    before(async () => {
      const options = { tls: manner !== 'http', authenticated: manner === 'authentication' }
      const source = await startRegistry({ ...options, kind: from })
      const target = await startRegistry({ ...options, kind: to })
      registries = [source, target]
      independent = await independentTools(target)
      let mark = await target.accessLogEnd()
      world = {
        source,
        target,
        independent,
        mounts: to !== 'go-containerregistry',
        sha512: to === 'go-containerregistry',
        options: {
          hosts: () => ({ http: manner === 'http' }),
          ...(manner === 'http' ? {} : { ca: `${source.authority}\n${target.authority}` }),
          ...(source.user && { credentials: async () => (source.user ? [source.user] : []) }),
        },
        targetLog: async () => {
          const end = await settledEnd(target)
          const entries = await target.accessLog(mark)
          mark = end
          return entries
            .filter(({ status }) => status !== 401)
            .map(({ method, path, status }) => `${method} ${path} ${status}`)
        },
      }
    })
    after(async () => {
      await independent?.[Symbol.asyncDispose]()
      for (const registry of registries) await registry.close()
    })
    copySuite(() => world)
  })
}

/** The line of a request comes a moment after its answer. */
async function settledEnd(registry: TestRegistry): Promise<number> {
  let end = -1
  for (;;) {
    const now = await registry.accessLogEnd()
    if (now === end) return end
    end = now
    await delay(20)
  }
}
