import { parseArgs } from 'node:util'
import { faultOfPlatform, isRegistryHost } from '@containers/image-copy'
import { UsageError } from '../errors.ts'
import { readArguments } from '../read-arguments.ts'
import type { ExtraMode } from './extra-tags.ts'
import { HOST_OPTIONS, type HostArguments, parseHostArguments } from './host-arguments.ts'
import { optionsElsewhere } from './options-elsewhere.ts'
import { asOption, parseSelection, TAG_OPTIONS, type WantedTags } from './tag-options.ts'

/** What the arguments of `kip copy` ask for, before any file is read. */
export interface CopyArguments {
  readonly help: boolean
  /** Source and target; undefined with {@link list}. */
  readonly pair: readonly [string, string] | undefined
  /** Which tags of them; undefined: they are images. Whether its range is one is not known yet. */
  readonly selection: WantedTags | undefined
  /** File with a source and a target a line; `-` is standard input. */
  readonly list: string | undefined
  /** What is done with tags of targets that nothing selects; undefined: they are not looked for. */
  readonly extra: ExtraMode | undefined
  readonly output: 'text' | 'json'
  /** Where counters go at the end; undefined: nowhere. */
  readonly metricsFile: string | undefined
  readonly dryRun: boolean
  /** Where blobs of targets are remembered; undefined: nowhere. */
  readonly knownFile: string | undefined
  readonly platforms: readonly string[]
  readonly referrers: boolean
  /** Hosts from which foreign layers may be read; undefined: they are left where they are. */
  readonly foreignLayers: readonly string[] | undefined
  readonly recheck: boolean
  /** Who verifies blobs. */
  readonly verify: 'stream' | 'target'
  readonly concurrency: number
  readonly hosts: HostArguments
  /** Docker configurations with credentials; undefined: the default one. */
  readonly sourceAuth: NamedFile | undefined
  readonly targetAuth: NamedFile | undefined
}

/** A file, and the option that named it. */
export interface NamedFile {
  readonly option: string
  readonly file: string
}

/** What `kip copy --help` prints. */
export const copyUsage = `Usage: kip copy [OPTIONS] SOURCE TARGET
       kip copy [OPTIONS] --from-file LIST

Copies images between registries, byte for byte: digests stay, signatures verify, every platform is there. What the
target holds is not sent again, and its tag is written last.

SOURCE and TARGET are [HOST[:PORT]/]REPOSITORY[:TAG][@DIGEST]. Without a HOST they are of Docker Hub: a source nginx is
docker.io/library/nginx:latest, a target user/app is docker.io/user/app:latest.

  --from-file FILE        copy each line's SOURCE TARGET; - is standard input, # begins a comment
  --tags PATTERN          SOURCE and TARGET are repositories: copy the tags that match, 1.* with the wildcards * and ?, or a
                          regular expression between slashes; as often as wanted, or several with commas
  --not-tags PATTERN      none of the tags that match
  --semver RANGE          only versions in a range, '>=1.25 <2' or '^1.4'; those with a suffix (-alpine) where --tags asks
                          for it
  --latest N              only the newest N versions
  --pre-releases          pre-releases are versions too
  --created-since WHEN    of all these, only those whose image was made since then: a date (2026-01-31 or 2026-01-31T12:00Z)
                          or an age (12h, 30d, 4w); each is asked for
  --extra report|delete   tell of the target's tags that are not selected, or delete them when all else has arrived; lists
                          of referrers and cosign's tags are left alone
  --concurrency N         images at a time; default 8
  --platform OS/ARCH      only this platform, linux/amd64 or linux/arm/v7, as often as wanted, or several with commas;
                          the index stays whole, so the target must allow gaps
  --referrers             also what points at the image: referrers, cosign signatures, attestations and SBOMs
  --foreign-layers HOST   also foreign layers, from the source or from their URLs at this host, as often as wanted
  --recheck               look at every part even when the target's tag has the digest already
  --verify stream|target  who holds layers against their digests: kip while they pass, as by default, or the target alone,
                          which takes half the CPU; only for targets known to refuse what lacks its digest
  --known FILE            remember there which repositories of a target hold which layers; the next run with it mounts what
                          this one sent, instead of sending it again
  --dry-run               write nothing; tell how many bytes would be sent
  --output text|json      json: one object a line and image, and one for all at the end
  --metrics-file FILE     write what was counted at the registries there at the end, as OpenMetrics text
  --http HOST             speak plain http to this registry, as often as wanted
  --ca [HOST=]FILE        PEM of authorities to trust besides the system's, for this registry or all; as often as wanted
  --client-cert HOST=CERTFILE,KEYFILE
                          PEM of the certificate to show this registry, and of its key, as often as wanted
  --trust-realm HOST      show the credentials of registries to this token server too, as often as wanted
  --mirror HOST=PLACE     ask PLACE, a host and maybe a path there, before this registry when reading, as often as wanted
  --authfile FILE         credentials, as docker login writes them; - is standard input; default $REGISTRY_AUTH_FILE, or
                          what docker login and podman login wrote where they do by default
  --src-authfile FILE     the same for the source only
  --dest-authfile FILE    the same for the target only
  -h, --help              print this

The exit code is 0 when all that was asked for was done, 1 when something was not, be it one image, 2 when the arguments or
a file named there are wrong.`

const OPTIONS = {
  help: { type: 'boolean', short: 'h', default: false },
  'from-file': { type: 'string' },
  ...TAG_OPTIONS,
  extra: { type: 'string' },
  concurrency: { type: 'string', default: '8' },
  platform: { type: 'string', multiple: true },
  referrers: { type: 'boolean', default: false },
  'foreign-layers': { type: 'string', multiple: true },
  recheck: { type: 'boolean', default: false },
  verify: { type: 'string', default: 'stream' },
  'dry-run': { type: 'boolean', default: false },
  output: { type: 'string', default: 'text' },
  known: { type: 'string' },
  'metrics-file': { type: 'string' },
  ...HOST_OPTIONS,
  authfile: { type: 'string' },
  'src-authfile': { type: 'string' },
  'dest-authfile': { type: 'string' },
} as const

/** @throws UsageError with every fault at once */
export function parseCopyArguments(argv: readonly string[]): CopyArguments {
  const { values, positionals } = readArguments(
    () => parseArgs({ args: [...argv], options: OPTIONS, allowPositionals: true }),
    optionsElsewhere,
  )
  const list = values['from-file']
  const faults: string[] = []
  const [source, target, ...more] = positionals
  if (values.help) {
    // Whoever asks for help is told nothing else.
  } else if (list !== undefined && positionals.length > 0) {
    faults.push(`--from-file and ${JSON.stringify(positionals[0])}: give a list, or one image`)
  } else if (list === undefined && (target === undefined || more.length > 0)) {
    faults.push(`give one SOURCE and one TARGET, or --from-file; there are ${positionals.length}`)
  }
  const selection = parseSelection(values, asOption, faults)
  if (list !== undefined && selection !== undefined) {
    faults.push(
      '--from-file and tags: in a list, write tags=PATTERN behind the line that it is for',
    )
  }
  const { extra } = values
  if (extra !== undefined && extra !== 'report' && extra !== 'delete')
    faults.push(`--extra ${JSON.stringify(extra)}: give report or delete`)
  if (values.output !== 'text' && values.output !== 'json') {
    faults.push(`--output ${JSON.stringify(values.output)}: give text or json`)
  }
  if (values.verify !== 'stream' && values.verify !== 'target') {
    faults.push(`--verify ${JSON.stringify(values.verify)}: give stream or target`)
  }
  if (!/^[1-9]\d{0,2}$/.test(values.concurrency)) {
    faults.push(`--concurrency ${JSON.stringify(values.concurrency)}: give a number from 1 to 999`)
  }
  for (const option of ['authfile', 'src-authfile', 'dest-authfile', 'from-file'] as const) {
    if (values[option] === '') faults.push(`--${option}: give a file`)
  }
  const knownFile = writtenFile(values, 'known', faults)
  const metricsFile = writtenFile(values, 'metrics-file', faults)
  if (knownFile !== undefined && knownFile === metricsFile)
    faults.push('--known and --metrics-file: give each a file of its own')
  const hosts = parseHostArguments(values, faults)
  for (const host of values['foreign-layers'] ?? []) {
    if (isRegistryHost(host)) continue
    faults.push(`--foreign-layers ${JSON.stringify(host)}: give host or host:port`)
  }
  const platforms = (values.platform ?? []).flatMap((text) => text.split(','))
  for (const platform of platforms) {
    const fault = faultOfPlatform(platform)
    if (fault !== undefined) faults.push(`--platform ${JSON.stringify(platform)}: ${fault}`)
  }
  const named = (option: 'authfile' | 'src-authfile' | 'dest-authfile'): NamedFile | undefined => {
    const file = values[option]
    return file === undefined ? undefined : { option: `--${option}`, file }
  }
  const sourceAuth = named('src-authfile') ?? named('authfile')
  const targetAuth = named('dest-authfile') ?? named('authfile')
  if (list === '-' && (sourceAuth?.file === '-' || targetAuth?.file === '-')) {
    faults.push('--from-file - and credentials cannot both come from standard input')
  }
  if (faults.length > 0) throw new UsageError(faults)
  return {
    help: values.help,
    pair: source === undefined || target === undefined ? undefined : [source, target],
    selection,
    list,
    extra: extra === 'report' || extra === 'delete' ? extra : undefined,
    output: values.output === 'json' ? 'json' : 'text',
    knownFile,
    metricsFile,
    dryRun: values['dry-run'],
    platforms,
    referrers: values.referrers,
    foreignLayers: values['foreign-layers'],
    recheck: values.recheck,
    verify: values.verify === 'target' ? 'target' : 'stream',
    concurrency: Number(values.concurrency),
    hosts,
    sourceAuth,
    targetAuth,
  }
}

/** Of which `-` is no name: standard output has the results. */
function writtenFile<O extends string>(
  values: Readonly<Partial<Record<O, string>>>,
  option: O,
  faults: string[],
): string | undefined {
  const file = values[option]
  if (file === '' || file === '-') faults.push(`--${option} ${JSON.stringify(file)}: give a file`)
  return file
}
