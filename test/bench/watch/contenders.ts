import { ContenderError, measureCommand } from '../harness/measure.ts'
import type { Contender } from '../harness/rounds.ts'
import type { ClientReport } from './client-report.ts'
import type { ClientName, Target, World } from './world.ts'

/** A client from its start to a complete inventory. */
export function listContender(world: World, target: Target, name: ClientName): Contender {
  return {
    name,
    run: async (_round, signal) => {
      const { measurement, output } = await measureCommand({
        measure: world.measure,
        command: world.command(name, target, false),
        env: { NODE_ENV: 'production' },
        cwd: target.folder,
        signal,
      })
      const { blockMs } = checkedReport(target, JSON.parse(output))
      return { ...measurement, ...(blockMs !== undefined && { blockMs }) }
    },
  }
}

const seen = new WeakMap<Target, string>()

/** @throws ContenderError when two clients have not the same inventory of a server that did not change */
function checkedReport(target: Target, report: ClientReport): ClientReport {
  const { pods, images, digest } = report
  const inventory = JSON.stringify({ pods, images, digest })
  const before = seen.get(target) ?? inventory
  seen.set(target, before)
  if (before !== inventory) {
    throw new ContenderError(`the clients differ: ${inventory} and ${before}`)
  }
  return report
}
