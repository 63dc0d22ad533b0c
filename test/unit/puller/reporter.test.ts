import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Plan } from '../../../src/puller/plan.ts'
import { type Circumstances, Reporter } from '../../../src/puller/reporter.ts'
import { silentLog } from '../../support/silent-log.ts'
import { Driver, pullerSettings, want } from './driver.ts'
import { SimulatedCluster } from './simulated-cluster.ts'

const none: Circumstances = {
  ...{ taken: new Set(), out: new Set() },
  ...{ altered: new Map(), refusals: new Map() },
}
const references = new Set(Array.from({ length: 12 }, (_, index) => `r.test/a${index}:1`))
const altered = new Map([...references].map((reference) => [reference, `${reference}@sha256:0`]))

function start() {
  const log = silentLog()
  const reporter = new Reporter({ log, settings: pullerSettings })
  const { last: plan } = runOn(new Driver(new SimulatedCluster(['n1'])))
  assert.ok(plan)
  return { log, plan, report: reporter.report.bind(reporter) }
}

function runOn(driver: Driver): Driver {
  driver.run(1)
  return driver
}

describe('what is told of images', () => {
  const limits: readonly (readonly [string, Partial<Plan>, Partial<Circumstances>, RegExp])[] = [
    ['pods', { waiting: references }, {}, /puller\.podsPerNode/],
    ['disk', {}, { out: references }, /puller\.diskPercent/],
    ['etcd', { beyond: references }, {}, /etcd/],
    ['a name that stays', {}, { altered }, /admission webhook changes their references/],
  ]
  for (const [limit, change, circumstances, text] of limits) {
    it(`is which ones are left out for lack of ${limit}, ten by name, and again when that comes anew`, () => {
      const { log, plan, report } = start()
      const lacking = (): void => report({ ...plan, ...change }, { ...none, ...circumstances })
      lacking()
      lacking()
      const [line, ...again] = log.lines
      assert.equal(line?.level, 'warn')
      assert.match(line?.message ?? '', text)
      const [becomes] = circumstances.altered?.values() ?? []
      const more = becomes === undefined ? {} : { becomes }
      assert.deepEqual(line?.fields, { images: [...references].slice(0, 10), count: 12, ...more })
      assert.deepEqual(again, [])
      report(plan, none)
      lacking()
      assert.equal(log.lines.length, 2)
    })
  }

  it('is each one that an admission webhook changes, when that comes to be', () => {
    const { log, plan, report } = start()
    const tell = (...images: readonly string[]): void =>
      report(plan, {
        ...none,
        altered: new Map(images.map((image) => [image, `${image}@sha256:0`])),
      })
    tell('r.test/a:1')
    tell('r.test/a:1', 'r.test/b:1')
    tell('r.test/b:1')
    tell('r.test/a:1', 'r.test/b:1')
    assert.deepEqual(
      log.lines.map(({ fields }) => fields),
      ['r.test/a:1', 'r.test/b:1', 'r.test/a:1'].map((image) => ({
        ...{ images: [image], count: 1, becomes: `${image}@sha256:0` },
      })),
    )
  })

  it('is that one is set apart, by node and reason and in words of its own, and that it is no longer', () => {
    const { log, report } = start()
    const driver = new Driver(new SimulatedCluster(['n1', 'n2']))
    const bad = 'r.test/bad:1'
    driver.wanted = want('r.test/good:1', bad)
    driver.cluster.behave = (reference) => (reference === bad ? 'missing' : 'good')
    driver.run(60, (plan) => report(plan, none))
    driver.cluster.behave = () => 'good'
    driver.run(60, (plan) => report(plan, none))
    assert.deepEqual(
      log.lines.map(({ level, fields, message }) => [level, fields, message]),
      [
        [
          'warn',
          { image: bad, node: 'n1', reason: 'ErrImagePull' },
          'image set apart: the registry does not have it',
        ],
        ['info', { image: bad }, 'image no longer set apart'],
      ],
    )
  })
})
