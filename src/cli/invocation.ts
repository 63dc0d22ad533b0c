/** What a subcommand gets, so that nothing below `main.ts` reaches for the process. */
export interface Invocation {
  /** Arguments after the subcommand. */
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string | undefined>>
  /** Of the user that runs the process, where the system numbers them. */
  readonly uid?: number | undefined
  readonly readFile: (path: string) => string
  /** Reads standard input to its end. */
  readonly readInput: () => Promise<string>
  /** Writes a line to standard output. */
  readonly print: (text: string) => void
  /** Writes a line to standard error. */
  readonly complain: (text: string) => void
  /** Standard error, where it is a terminal. */
  readonly terminal?: Terminal | undefined
  /** The program's own module, for a child process that runs another subcommand. */
  readonly program: string
  readonly version: string
  /** Has an error that nobody caught told of before it ends the process with 1. Default: as Node does, on standard error. */
  readonly onCrash: (tell: (error: unknown) => void) => void
  /** Aborted by SIGTERM and SIGINT, which until it is first asked for end the process as they do any other. */
  readonly signal: AbortSignal
}

/** Resolves to the exit code: 0 done, 1 failed, 2 wrong usage or configuration. */
export type Subcommand = (invocation: Invocation) => Promise<number>

/** As much of a terminal as a picture in place needs. */
export interface Terminal {
  readonly columns: number
  readonly rows: number
  write(text: string): void
}
