import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ContenderError, measureCommand } from '../harness/measure.ts'
import type { ProcessMeasurement } from '../harness/measurement.ts'
import type { Contender } from '../harness/rounds.ts'
import { craneInTurn, type Item, type Tool } from './tools.ts'
import type { Link, World } from './world.ts'

export interface RunOptions {
  readonly world: World
  readonly link: Link
  readonly tool: Tool
  /** Default: the tool's. */
  readonly name?: string
  readonly items: (round: number) => readonly Item[]
  /** Start with an empty target. */
  readonly cold: boolean
}

/** A tool that copies images once a round; each run is checked by the digests of the target's tags. */
export function copyContender(options: RunOptions): Contender {
  const { world, link, tool, cold } = options
  return {
    name: options.name ?? tool.name,
    run: async (round, signal) => {
      if (cold) await world.target(link).empty()
      const items = options.items(round)
      const run = await measureTool(world, link, tool, items, signal)
      await checkItems(world, link, items, tool.name)
      return run
    },
  }
}

/** kip's copies inside a running process, so many images at a time, an image. */
export function residentContender(
  world: World,
  items: readonly Item[],
  { name = 'kip', atATime }: { readonly name?: string; readonly atATime: number },
): Contender {
  const passes = 5
  return {
    name,
    run: async (_round, signal) => {
      const { source, target } = world.route('http')
      const folder = await world.runFolder()
      const list = join(folder, 'list')
      const references = items.map((item) => `${source}/${item.source} ${target}/${item.target}\n`)
      await writeFile(list, references.join(''))
      const { measurement, output } = await measureCommand({
        measure: world.measure,
        command: [...world.resident, list, String(passes), String(atATime), source, target],
        env: world.env(folder),
        cwd: folder,
        signal,
      })
      await rm(folder, { recursive: true })
      const each: Pick<ProcessMeasurement, 'wallMs' | 'cpuMs'> = JSON.parse(output)
      return { wallMs: each.wallMs, cpuMs: each.cpuMs, rssMib: measurement.rssMib }
    },
  }
}

/** A process of crane an image: what one of them costs. */
export function craneEachContender(world: World, items: readonly Item[]): Contender {
  return {
    name: 'crane',
    run: async (_round, signal) => {
      const tool = craneInTurn(world.programs)
      const whole = await measureTool(world, 'http', tool, items, signal)
      return {
        wallMs: whole.wallMs / items.length,
        cpuMs: whole.cpuMs / items.length,
        rssMib: whole.rssMib,
      }
    },
  }
}

async function measureTool(
  world: World,
  link: Link,
  tool: Tool,
  items: readonly Item[],
  signal: AbortSignal,
): Promise<ProcessMeasurement> {
  const folder = await world.runFolder()
  const servers = [world.source(link), world.target(link)]
  const marks = await Promise.all(servers.map((server) => server.mark()))
  const { measurement } = await measureCommand({
    measure: world.measure,
    command: await tool.command(world.route(link), items, folder),
    env: { ...world.env(folder), ...tool.env },
    cwd: folder,
    ...(tool.enter && { enter: tool.enter }),
    signal,
  })
  const requests = await Promise.all(
    servers.map((server, index) => server.requestsSince(marks[index] ?? 0)),
  )
  await rm(folder, { recursive: true })
  return { ...measurement, requests: requests.reduce((sum, count) => sum + count, 0) }
}

/**
 * Only the digests that the tags point at: what is below them is the registry's word, which takes no manifest whose parts it
 * lacks. That copies are right byte for byte is for the tests.
 *
 * @throws ContenderError when a tag is not there, or points at something else than its source's
 */
export async function checkItems(
  world: World,
  link: Link,
  items: readonly Item[],
  who: string,
): Promise<void> {
  for (const item of items) {
    const [repository = '', tag = ''] = item.target.split(':')
    const [origin = ''] = item.source.split(':')
    const found = await world.target(link).client.manifest(repository, tag)
    const expected = await world.digest(origin)
    if (found?.digest === expected) continue
    const there = found?.digest ?? 'nothing'
    throw new ContenderError(`${who}: ${item.target} is ${there}, not ${expected}`)
  }
}
