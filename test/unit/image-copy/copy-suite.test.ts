import { after, before, describe } from 'node:test'
import { copySuite, type SuiteWorld } from '../../support/copy-suite.ts'
import { FakeRegistry, type FakeRegistryOptions } from '../../support/fake-registry.ts'

const manners: Readonly<
  Record<string, { source?: FakeRegistryOptions; target?: FakeRegistryOptions }>
> = {
  'registries that let anybody in': {},
  'registries with Basic authentication': {
    source: { auth: { kind: 'basic', users: { reader: 'secret' } } },
    target: { auth: { kind: 'basic', users: { writer: 'hidden' } } },
  },
  'registries with bearer tokens': {
    source: { auth: { kind: 'bearer', users: { reader: 'secret' } } },
    target: { auth: { kind: 'bearer', users: { writer: 'hidden' } } },
  },
}

for (const [name, { source, target }] of Object.entries(manners)) {
  describe(`copies between ${name}`, () => {
    let registries: readonly [FakeRegistry, FakeRegistry]
    let world: SuiteWorld
    before(async () => {
      registries = [await FakeRegistry.start(source), await FakeRegistry.start(target)]
      const [from, to] = registries
      world = {
        source: from,
        target: to,
        mounts: true,
        sha512: true,
        options: {
          hosts: () => ({ http: true }),
          retry: { baseMs: 1, maxMs: 5 },
          credentials: async (host) =>
            Object.entries((host === from.host ? from : to).options.auth?.users ?? {}).map(
              ([username, password]) => ({ username, password }),
            ),
        },
        targetLog: async () => to.takeLog().filter((line) => !/\/token|\s401$/.test(line)),
      }
    })
    after(async () => {
      for (const registry of registries) await registry.close()
    })
    copySuite(() => world)
  })
}
