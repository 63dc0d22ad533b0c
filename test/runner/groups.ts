import { downCluster, missingForNodes, upCluster } from '../cluster/index.ts'
import { clusterVariable } from '../support/cluster.ts'

/** What the files of a group run on. */
export interface TestBed extends AsyncDisposable {
  /** Told to each test file. */
  readonly env: Readonly<Record<string, string>>
}

export interface TestGroup {
  readonly files: string
  /** Whether files may run beside each other. */
  readonly parallel: boolean
  setUp(signal: AbortSignal): Promise<TestBed>
}

export type Group = 'unit' | 'integration' | 'interop' | 'e2e'

const nothing: TestBed = { env: {}, [Symbol.asyncDispose]: async () => undefined }

const report = (line: string) => console.log(`  ${line}`)

/** In the order in which they run: what fails fastest comes first. */
export const groups: Readonly<Record<Group, TestGroup>> = {
  unit: {
    files: 'test/unit/**/*.test.ts',
    parallel: true,
    setUp: async () => nothing,
  },
  integration: {
    files: 'test/integration/**/*.test.ts',
    parallel: true,
    setUp: (signal) => clusterBed({ nodes: 0, signal }),
  },
  interop: {
    files: 'test/interop/**/*.test.ts',
    // Who leads is a matter of seconds: nothing else runs beside these.
    parallel: false,
    setUp: async () => nothing,
  },
  e2e: {
    files: 'test/e2e/**/*.test.ts',
    parallel: false,
    // Without nodes each file skips itself and says what is missing.
    setUp: async (signal) => (missingForNodes() ? nothing : await clusterBed({ nodes: 2, signal })),
  },
}

async function clusterBed(options: {
  readonly nodes: number
  readonly signal: AbortSignal
}): Promise<TestBed> {
  const name = `run-${process.pid}-${options.nodes}`
  const started = performance.now()
  const cluster = await upCluster({ ...options, name, owned: true, report })
  report(`cluster up in ${((performance.now() - started) / 1000).toFixed(1)} s`)
  await cluster[Symbol.asyncDispose]()
  return {
    env: { [clusterVariable(options.nodes)]: name },
    async [Symbol.asyncDispose]() {
      await downCluster(name, { report })
    },
  }
}
