import type { Explanation, NewPods, Told } from './explain.ts'
import type { WhyReport } from './report.ts'

/** Writes a report for people. */
export function whyText({ pod, settingsOf, images, notes }: WhyReport): string {
  return [
    ...(pod === undefined ? [] : [`pod ${pod}`]),
    `settings of ${settingsOf}`,
    ...images.flatMap((image) => ['', ...imageLines(image)]),
    ...(images.length === 0 ? ['', 'it names no image'] : []),
    ...notes.map((note) => `note: ${note}`),
  ]
    .map(printable)
    .join('\n')
}

/** Whoever creates a pod chooses its images: none of them, and no message, steers the terminal of who reads it. */
function printable(line: string): string {
  return line.replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) => {
    const code = char.codePointAt(0) ?? 0
    return char === '\n' ? ' ' : `\\u${code.toString(16).padStart(4, '0')}`
  })
}

function imageLines(image: WhyReport['images'][number]): readonly string[] {
  const { container, reference, object, now, conditions, failures, mirror, cache, lacks } = image
  const lines = [
    `${container === undefined ? '' : `${container}: `}${reference}`,
    row('object', object ?? 'there is no CachedImage for it'),
    ...users(image),
    ...conditions.flatMap(({ type, status, ...one }) => toldLines(type, one, `${status}: `)),
    ...failures.map(({ node, reason, message }) => row('', `${node}: ${reason}: ${message}`)),
    ...toldLines('copying', mirror),
    ...(cache === undefined ? [] : toldLines('holding', cache)),
    ...(cache?.references ?? []).map((name) => row('', `as ${name}`)),
    ...(now === undefined ? [] : [row('this pod', nowTexts[now])]),
    ...image.newPods.flatMap(newPodLines),
    ...(lacks.length === 0 ? [] : [row('LACKS', lacks.join(', '))]),
  ]
  // What to do about one reason is said once.
  return lines.filter((line, at) => !line.includes(' -> ') || lines.indexOf(line) === at)
}

const nowTexts = {
  copy: 'names the copy',
  own: 'names its own image; a pod that is there is not changed',
} as const

function users({ usage }: Explanation): readonly string[] {
  if (usage === undefined) return []
  const { wanted, pods, workloads, namespaces, owners } = usage
  const names = owners.map(({ kind, namespace, name }) => `${namespace}/${kind}/${name}`)
  const more = workloads - names.length
  const listed = [...names, ...(more > 0 ? [`${more} more`] : [])].join(', ')
  const counts = `${count(pods, 'pod')} and ${count(workloads, 'workload')} in ${count(namespaces, 'namespace')}`
  return [
    row('wanted', wanted.join(', ') || 'by nobody any more'),
    row('used by', `${counts}${listed === '' ? '' : `: ${listed}`}`),
  ]
}

function newPodLines({ namespaces, copy, ...one }: NewPods): readonly string[] {
  const where = namespaces.length === 0 ? '' : `in ${namespaces.join(', ')}: `
  return [
    ...toldLines('new pods', one, where),
    ...(copy === undefined ? [] : [row('', `at ${copy}`)]),
  ]
}

function toldLines(name: string, { code, text, todo }: Told, before = ''): readonly string[] {
  const line = `${before}${code}${text === '' ? '' : `: ${text}`}`
  return [row(name, line), ...(todo === undefined ? [] : [row('', `-> ${todo}`)])]
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}

function row(name: string, text: string): string {
  return `  ${name.padEnd(9)} ${text}`
}
