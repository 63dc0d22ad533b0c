import { createMemoryStore } from '../../../src/state/memory-store.ts'
import { imageStoreSuite } from '../../support/image-store-suite.ts'

imageStoreSuite('memory', async () => {
  const store = createMemoryStore()
  let version = 0
  store.onChange((reference) => {
    version = Math.max(version, Number(store.get(reference)?.resourceVersion ?? 0))
  })
  return { store, other: store, writes: () => version, close: async () => {} }
})
