import { type Leaf, type Section, sections } from './leaves.ts'

const width = 100
const indent = '      '

/** The help of `kip run`: every flag with its aliases, variables, default and meaning, for a terminal. */
export function renderUsage(): string {
  return [
    'Usage: kip run [--config FILE] [--SETTING=VALUE ...]',
    '',
    'Flags count before environment variables, those before the file, that before defaults.',
    ...sections.filter(({ leaves }) => leaves.length > 0).flatMap(renderSection),
    '',
  ].join('\n')
}

function renderSection({ key, description, leaves }: Section): string[] {
  return ['', key === '' ? description : `${key}: ${description}`, ...leaves.flatMap(renderLeaf)]
}

function renderLeaf({ schema, flags, variables }: Leaf): string[] {
  const value = schema.enum?.join('|') ?? schema.type.toUpperCase()
  const [first, ...aliases] = flags.map((flag) => `--${flag}`)
  const standard = schema.default === '' ? '' : `; default ${JSON.stringify(schema.default)}`
  return [
    `  ${[`${first}=${value}`, ...aliases].join(', ')}`,
    ...wrap(schema.description.replaceAll('`', '')),
    `${indent}${variables.join(', ')}${standard}`,
  ]
}

function wrap(text: string): string[] {
  const lines: string[] = []
  let line = indent
  for (const word of text.split(' ')) {
    if (line.length + word.length > width) {
      lines.push(line.trimEnd())
      line = indent
    }
    line += `${word} `
  }
  return [...lines, line.trimEnd()]
}
