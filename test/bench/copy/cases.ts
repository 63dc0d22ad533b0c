import { type Case, OURS } from '../harness/case.ts'
import type { Goal } from '../harness/goals.ts'
import type { Contender } from '../harness/rounds.ts'
import { checkItems, copyContender, craneEachContender, residentContender } from './contenders.ts'
import { BULK_IMAGES, bulkRepository, type SingleImage } from './corpus.ts'
import { type BulkTool, bulkTools, type Item, type SingleTool, singleTools } from './tools.ts'
import type { Link, World } from './world.ts'

const SINGLE_PEERS = ['crane', 'regctl', 'oras', 'podman-image', 'skopeo'] as const
const BULK_PEERS = ['crane x4', 'regsync', 'skopeo sync'] as const
/** A part of the many, to see that memory does not grow with their number. */
const FEW = 50
/** The peers' own difference from run to run is below this. */
const CLEARLY_SLOWER = 1.5

const wall = (beside: readonly string[], atMost: number): Goal => ({
  ...{ kind: 'ratio', figure: 'wallMs', of: OURS },
  ...{ beside, atMost },
})
const cpu = (beside: readonly string[], atMost: number): Goal => ({
  ...{ kind: 'ratio', figure: 'cpuMs', of: OURS },
  ...{ beside, atMost },
})
const rss = (atMost: number): Goal => ({ kind: 'bound', figure: 'rssMib', of: OURS, atMost })

/** Every case, with the goals that it has to reach. */
export const cases: readonly Case<World>[] = [
  {
    name: 'large',
    title: 'image of 1.5 GiB (1 GiB + 8 x 64 MiB), cold, http',
    contenders: singles('http', 'bench/large', ['crane', 'regctl', 'oras', 'podman-image']),
    warmUp: true,
    goals: [wall(['crane'], 0.92), cpu(['crane'], 0.97), rss(64)],
  },
  {
    // oras verifies no blob: beside it kip leaves that to the target too.
    name: 'large-verify-target',
    title: 'image of 1.5 GiB, cold, http, blobs verified by the target alone',
    contenders: singles('http', 'bench/large', ['oras'], ['--verify', 'target']),
    warmUp: true,
    goals: [wall(['oras'], 1), cpu(['oras'], 1), rss(64)],
  },
  {
    name: 'large-tls',
    title: 'image of 1.5 GiB, cold, TLS',
    contenders: singles('tls', 'bench/large', ['crane', 'podman-image']),
    warmUp: true,
    goals: [wall(['crane'], 0.8), cpu(['podman-image'], 1), rss(68)],
  },
  {
    name: 'layers-far',
    title: '60 layers of 1 MB, cold, +20 ms',
    contenders: singles('delayed', 'bench/layers', SINGLE_PEERS),
    goals: [wall(SINGLE_PEERS, 0.48)],
  },
  {
    name: 'platforms-far',
    title: '4 platforms with attestations, cold, +20 ms',
    contenders: singles('delayed', 'bench/platforms', SINGLE_PEERS),
    goals: [wall(SINGLE_PEERS, 0.6)],
  },
  {
    name: 'small-far',
    title: 'one small image (5 MB, 3 layers), cold, +20 ms',
    contenders: singles('delayed', 'bench/small', SINGLE_PEERS),
    goals: [wall(SINGLE_PEERS, 0.78)],
  },
  {
    name: 'bulk',
    title: `${BULK_IMAGES} images sharing bases, cold, http`,
    contenders: async (world) => [
      ...(await bulk('http')(world)),
      copyContender({
        ...{ world, link: 'http', cold: true, name: `kip, ${FEW} of them` },
        tool: bulkTools(world.programs).kip,
        items: () => bulkItems().slice(0, FEW),
      }),
    ],
    goals: [
      wall(BULK_PEERS, 0.33),
      cpu(BULK_PEERS, 0.18),
      rss(68),
      {
        ...{ kind: 'ratio', figure: 'rssMib', of: OURS },
        ...{ beside: [`kip, ${FEW} of them`], atMost: 1.1 },
      },
    ],
  },
  {
    name: 'bulk-far',
    title: `${BULK_IMAGES} images sharing bases, cold, +20 ms`,
    contenders: bulk('delayed'),
    leaveOutBeyond: CLEARLY_SLOWER,
    goals: [
      wall(BULK_PEERS, 0.22),
      {
        ...{ kind: 'ratio', figure: 'requests', of: OURS },
        ...{ beside: ['crane x4'], atMost: 0.45 },
      },
    ],
  },
  {
    name: 'new-tag-far',
    title: "new tag on content that is there under the source's tag (60 layers), +20 ms",
    contenders: newTag('bench/layers', '1'),
    goals: [wall(SINGLE_PEERS, 1), { kind: 'bound', figure: 'requests', of: OURS, atMost: 3 }],
  },
  {
    // No tag of the source's name tells that the content is there: kip asks once more, and no goal is set. Beside oras, which
    // asks for the digest always and starts in a tenth of the time, there is no request left to save.
    name: 'new-tag-no-namesake-far',
    title: 'new tag on content that is there under another tag only (60 layers), +20 ms',
    contenders: newTag('bench/renamed', 'other'),
    goals: [],
  },
  {
    name: 'bulk-again',
    title: `the ${BULK_IMAGES} images again, nothing to do, http`,
    contenders: async (world, signal) => {
      await fillBulk(world, signal)
      const tools = bulkTools(world.programs)
      return [tools.kip, tools.regsync, tools['crane x4']].map((tool) =>
        copyContender({ world, link: 'http', cold: false, tool, items: bulkItems }),
      )
    },
    goals: [
      wall(['regsync'], 1.1),
      cpu(['regsync'], 1),
      {
        ...{ kind: 'bound', figure: 'requests', of: OURS },
        ...{ atMost: 2, per: BULK_IMAGES },
      },
    ],
  },
  {
    name: 'resident',
    title: 'inside a running process, 8 at a time, nothing to do, an image',
    contenders: async (world, signal) => {
      await fillBulk(world, signal)
      return [
        residentContender(world, bulkItems(), { atATime: 8 }),
        residentContender(world, bulkItems(), { name: 'kip, one at a time', atATime: 1 }),
        craneEachContender(world, bulkItems().slice(0, FEW)),
      ]
    },
    goals: [wall(['crane'], 0.05), cpu(['crane'], 0.05)],
  },
]

const SINGLE_PEERS_AND_US = [OURS, ...SINGLE_PEERS] as const

function singles(
  link: Link,
  repository: SingleImage,
  peers: readonly SingleTool[],
  kipOptions: readonly string[] = [],
): (world: World) => Promise<readonly Contender[]> {
  return async (world) => {
    await world.digest(repository)
    const tools = singleTools(world.programs, kipOptions)
    const item: Item = { source: `${repository}:1`, target: `${repository}:1` }
    return ([OURS, ...peers] as const).map((name) =>
      copyContender({ world, link, cold: true, tool: tools[name], items: () => [item] }),
    )
  }
}

function bulk(link: Link): (world: World) => Promise<readonly Contender[]> {
  return async (world) => {
    await world.digest(bulkRepository(0))
    const tools = bulkTools(world.programs)
    const names: readonly BulkTool[] = [OURS, ...BULK_PEERS]
    return names.map((name) =>
      copyContender({ world, link, cold: true, tool: tools[name], items: bulkItems }),
    )
  }
}

function bulkItems(): readonly Item[] {
  return Array.from({ length: BULK_IMAGES }, (_, number) => {
    const name = `${bulkRepository(number)}:1`
    return { source: name, target: name }
  })
}

/** Gives the layers a tag beside the one by which the target's repository has them, another each time. */
function newTag(repository: string, held: string): Case<World>['contenders'] {
  const source = 'bench/layers:1'
  return async (world, signal) => {
    const tools = singleTools(world.programs)
    const route = { world, link: 'delayed' } as const
    const to = (tag: string) => () => [{ source, target: `${repository}:${tag}` }]
    await world.digest('bench/layers')
    const filling = copyContender({ ...route, cold: true, tool: tools.kip, items: to(held) })
    await filling.run(0, signal)
    return SINGLE_PEERS_AND_US.map((name) =>
      copyContender({
        ...{ ...route, cold: false, tool: tools[name] },
        items: (round) => to(`${name}-${round + 2}`)(),
      }),
    )
  }
}

async function fillBulk(world: World, signal: AbortSignal): Promise<void> {
  await world.digest(bulkRepository(0))
  const items = bulkItems()
  const there = await checkItems(world, 'http', items, OURS).then(
    () => true,
    () => false,
  )
  if (there) return
  const tool = bulkTools(world.programs).kip
  await copyContender({ world, link: 'http', cold: true, tool, items: () => items }).run(0, signal)
}
