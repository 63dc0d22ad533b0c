import type { CertificateDescription } from '../../../certs/describe.ts'
import type { CertsReport } from './show.ts'

const roles = {
  signs: 'signs what is served',
  next: 'signs next, once API servers know it',
  retired: 'signed before, still trusted',
  trusted: 'trusted',
} as const

const registrations = {
  yes: 'the webhook configuration is there',
  no: 'there is no webhook configuration, API servers do not call kip',
  unknown: 'the webhook configuration may not be read',
} as const

/** Writes a report for people. */
export function certsText(report: CertsReport): string {
  const { place, keptBy, served, authorities, registered, faults } = report
  const keeper = keptBy === 'kip' ? 'kip makes and replaces it' : 'somebody else looks after it'
  return [
    `${place}: ${keeper}`,
    '',
    `served     ${served.names.join(', ') || served.subject}`,
    ...rows(served),
    `signed by  ${served.issuer}`,
    ...authorities.flatMap((one) => [
      `authority  ${one.subject}: ${roles[one.role]}`,
      ...rows(one),
    ]),
    '',
    registrations[registered],
    ...(faults.length === 0 ? ['nothing is wrong'] : faults.map((fault) => `WRONG: ${fault}`)),
  ].join('\n')
}

function rows(certificate: CertificateDescription): readonly string[] {
  const { notBefore, notAfter, replacedFrom, fingerprint } = certificate
  const turn = replacedFrom === undefined ? '' : `, replaced from ${day(replacedFrom)}`
  return [
    `           from ${day(notBefore)} to ${day(notAfter)}${turn}`,
    `           SHA-256 ${fingerprint}`,
  ]
}

function day(time: string): string {
  return time.slice(0, 10)
}
