/** Counts what the test files told, and prints failures and skips by name. */
export class Report {
  #passed = 0
  readonly #failures: { test: string; detail: string }[] = []
  readonly #skips: { test: string; reason: string }[] = []

  pass(): void {
    this.#passed++
  }

  fail(test: string, detail: string): void {
    this.#failures.push({ test, detail })
    console.log(`  ✗ ${test}`)
  }

  /** @param reason what the machine lacks, as the probe said it */
  skip(test: string, reason: string): void {
    this.#skips.push({ test, reason })
  }

  /**
   * Prints what is to be looked at, then the closing line.
   *
   * @param options.failSkipped skipped tests whose name begins so count as failed
   * @returns whether nothing failed
   */
  print(options: { readonly failSkipped: string | undefined }): boolean {
    const { failSkipped } = options
    const forbidden = this.#skips.filter(
      ({ test }) => failSkipped !== undefined && test.startsWith(failSkipped),
    )
    const skips = this.#skips.filter((skip) => !forbidden.includes(skip))
    const failures = [
      ...this.#failures,
      ...forbidden.map(({ test, reason }) => ({
        test,
        detail: `skipped where it must run: ${reason}`,
      })),
    ]
    for (const { test, detail } of failures) console.log(`\n✗ ${test}\n${indent(detail)}`)
    for (const { test, reason } of skips) console.log(`- skipped: ${test}: ${reason}`)
    console.log(`\n${this.#passed} passed, ${failures.length} failed, ${skips.length} skipped`)
    return failures.length === 0 && this.#passed > 0
  }
}

function indent(text: string): string {
  return text.replace(/^/gm, '    ')
}
