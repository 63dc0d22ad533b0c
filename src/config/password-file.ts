/** The password in a file's text; empty: there is none. Editors and `echo` end a file with a line's end that is no part of it. */
export function passwordIn(text: string): string {
  return text.trim() === '' ? '' : text.replace(/\r?\n$/, '')
}
