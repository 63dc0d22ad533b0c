import { open } from 'node:fs/promises'

/** One request that a registry answered. */
export interface AccessLogEntry {
  /** To the second: the log has no finer time. */
  readonly time: Date
  readonly method: string
  /** With its query. */
  readonly path: string
  readonly status: number
  /** Of the answer's body. */
  readonly bytes: number
  /** Address without port: which node, pod or process asked. */
  readonly remoteAddress: string
  readonly userAgent: string
}

/** Place in a log: entries from there on are those of requests that ended later. */
export type AccessLogMark = number

// 10.96.0.11 - - [21/Nov/2026:01:26:22 +0000] "GET /v2/ HTTP/1.1" 200 2 "" "containerd/v2.2.9"
const LINE =
  /^(\S+) - \S+ \[([^\]]+)\] "(\S+) (\S+) [^"]*" (\d{3}) (\d+|-) "(?:[^"\\]|\\.)*" "((?:[^"\\]|\\.)*)"$/

/** Reads one line of the combined log format; undefined when it is another kind of line. */
export function parseAccessLogLine(line: string): AccessLogEntry | undefined {
  const match = LINE.exec(line)
  if (!match) return undefined
  const [, remoteAddress = '', time = '', method = '', path = '', status, bytes, userAgent = ''] =
    match
  return {
    time: parseTime(time),
    method,
    path,
    status: Number(status),
    bytes: bytes === '-' ? 0 : Number(bytes),
    remoteAddress,
    userAgent: userAgent.replaceAll(/\\(.)/g, '$1'),
  }
}

/** `21/Nov/2026:01:26:22 +0000`, where Date wants spaces around the day and before the hour. */
function parseTime(text: string): Date {
  return new Date(text.replace(':', ' ').replaceAll('/', ' '))
}

/** The end of a registry's log as it is now. */
export async function accessLogEnd(file: string): Promise<AccessLogMark> {
  await using handle = await open(file, 'r')
  return (await handle.stat()).size
}

/**
 * Reads the requests in a registry's log.
 *
 * A registry writes the line after the answer: whoever just got an answer may have to look again for its request.
 *
 * @param since - a mark from {@link accessLogEnd}, or a time, which is taken to the second; default: all
 */
export async function readAccessLog(
  file: string,
  since: AccessLogMark | Date = 0,
): Promise<readonly AccessLogEntry[]> {
  await using handle = await open(file, 'r')
  const start = typeof since === 'number' ? since : 0
  const length = Math.max(0, (await handle.stat()).size - start)
  const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, start)
  const entries = buffer
    .toString('utf8', 0, bytesRead)
    .split('\n')
    .map(parseAccessLogLine)
    .filter((entry) => entry !== undefined)
  if (typeof since === 'number') return entries
  const second = Math.floor(since.getTime() / 1000) * 1000
  return entries.filter(({ time }) => time.getTime() >= second)
}
