import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { parseCommandLine } from '../../bench/command-line.ts'
import { formatFigure } from '../../bench/harness/measurement.ts'
import { caseTable, goalsTable } from '../../bench/harness/report.ts'

describe('report', () => {
  test('a case shows ours first, with ratios to each that was measured', () => {
    const table = caseTable({
      name: 'case',
      title: 'a case',
      ours: 'kip',
      rounds: [
        {
          crane: { wallMs: 4000, cpuMs: 2000, rssMib: 15 },
          kip: { wallMs: 3000, cpuMs: 1000, rssMib: 60 },
        },
      ],
      leftOut: [],
      goals: [],
    })
    const [title, header, ours, crane] = table.split('\n')
    assert.equal(title, 'a case')
    assert.doesNotMatch(header ?? '', /requests/)
    assert.match(ours ?? '', /^ {2}kip +3\.00 s +1\.00 s +60 MiB$/)
    assert.match(crane ?? '', /^ {2}crane +4\.00 s +0\.750 +2\.00 s +0\.500 +15 MiB +4\.000$/)
  })

  test('a goal says what was seen and whether that is enough', () => {
    const goal = { case: 'a', what: 'wall', value: 0.9, shown: '0.900', atMost: 0.8 }
    const table = goalsTable([{ ...goal, shownAtMost: '0.800', met: false }])
    assert.match(table, /a +wall +0\.900 +≤ 0\.800 +MISSED/)
  })

  test('figures have the digits that they are good for', () => {
    assert.equal(formatFigure('wallMs', 4083), '4.08 s')
    assert.equal(formatFigure('cpuMs', 12.34), '12.3 ms')
    assert.equal(formatFigure('cpuMs', 0.4321), '0.43 ms')
    assert.equal(formatFigure('rssMib', 53.4), '53 MiB')
    assert.equal(formatFigure('requests', 186), '186')
  })
})

describe('command line', () => {
  test('seven rounds of everything unless told otherwise', () => {
    const all = parseCommandLine(['copy'], ['copy'])
    assert.deepEqual(all, { bench: 'copy', json: undefined, rounds: 7, only: '' })
    const some = parseCommandLine(
      ['copy', '--rounds', '1', '--only', 'large', '--json', 'x.json'],
      ['copy'],
    )
    assert.deepEqual(some, { bench: 'copy', json: 'x.json', rounds: 1, only: 'large' })
  })

  test('what is not understood is refused', () => {
    assert.throws(() => parseCommandLine([], ['copy', 'lease']), /give one bench: copy, lease/)
    assert.throws(() => parseCommandLine(['paste'], ['copy']), RangeError)
    assert.throws(() => parseCommandLine(['copy', '--rounds', '0'], ['copy']), /--rounds 0/)
    assert.throws(() => parseCommandLine(['copy', '--fast'], ['copy']), /--fast/)
  })
})
