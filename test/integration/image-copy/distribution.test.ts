import { after, before, describe } from 'node:test'
import { copySuite, type SuiteWorld } from '../../support/copy-suite.ts'
import { startRegistry, type TestRegistry, whyNoRegistry } from '../../support/registry.ts'

const reason = await whyNoRegistry()

for (const kind of ['http', 'TLS', 'authentication'] as const) {
  describe(`copies between real registries (distribution 2.8, ${kind})`, {
    skip: reason ?? false,
  }, () => {
    let registries: TestRegistry[] = []
    let world: SuiteWorld
    before(async () => {
      const options = { tls: kind !== 'http', authenticated: kind === 'authentication' }
      registries = [await startRegistry(options), await startRegistry(options)]
      const [source, target] = registries as [TestRegistry, TestRegistry]
      let mark = await target.accessLogEnd()
      world = {
        source,
        target,
        options: {
          hosts: () => ({ http: kind === 'http' }),
          ...(kind === 'http' ? {} : { ca: `${source.authority}\n${target.authority}` }),
          ...(source.user && { credentials: async () => (source.user ? [source.user] : []) }),
        },
        targetLog: async () => {
          const entries = await target.accessLog(mark)
          mark = await target.accessLogEnd()
          return entries
            .filter(({ status }) => status !== 401)
            .map(({ method, path, status }) => `${method} ${path} ${status}`)
        },
      }
    })
    after(async () => {
      for (const registry of registries) await registry.close()
    })
    copySuite(() => world)
  })
}
