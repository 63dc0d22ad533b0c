import { type Leaf, type Section, sections } from './leaves.ts'

const intro = `# Configuration

<!-- Written by \`npm run docs:config\` from src/config/schema.ts: change it there. -->

Every setting can be given in three ways, and as a whole counts from the first that gives it:

1. a flag: \`--mirror.registry=registry.example.com/mirror\`, with one dash or two; lists may be repeated;
2. an environment variable: \`KIP_MIRROR_REGISTRY\`; an empty one counts as not set;
3. a file, named by \`--config\` or \`KIP_CONFIG\`:

   \`\`\`yaml
   mirror:
     registry: registry.example.com/mirror
   \`\`\`

Some settings have further names, so that kip starts with the configuration of kubernetes-image-puller (variables) and
imgCloneCtrl (flags) as it stands. Lists of names are written \`a;b\` or \`a,b\`; maps and lists of maps in JSON or YAML.

An unknown flag, key or \`KIP_…\` variable and a value of the wrong form stop the start, all listed at once. A malformed
item of \`IMAGES\` is reported and skipped.
`

/** Renders the configuration page: every section a table, in the schema's order. */
export function renderConfigurationPage(): string {
  return [intro, ...sections.filter(({ leaves }) => leaves.length > 0).map(renderSection)].join(
    '\n',
  )
}

function renderSection(section: Section): string {
  return [
    `## ${section.key === '' ? 'Process' : `\`${section.key}\``}`,
    '',
    section.description,
    '',
    '| setting | default | environment | flag | meaning |',
    '|---|---|---|---|---|',
    ...section.leaves.map(renderLeaf),
    '',
  ].join('\n')
}

function renderLeaf({ key, schema, variables, flags }: Leaf): string {
  const cells = [
    code(key),
    schema.default === '' ? '' : code(JSON.stringify(schema.default).replaceAll('"', '')),
    variables.map(code).join(' '),
    flags.map((flag) => code(`--${flag}`)).join(' '),
    `${schema.description}${choices(schema.enum)}`,
  ]
  return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
}

function choices(values: readonly string[] | undefined): string {
  return values === undefined ? '' : ` One of ${values.map(code).join(', ')}.`
}

function code(text: string): string {
  return `\`${text}\``
}
