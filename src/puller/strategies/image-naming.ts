const inReference = /[A-Za-z0-9._:@/-]/

/** Whether a message names an image reference, and not merely one that begins or ends alike. */
export function isNamed(message: string, reference: string): boolean {
  if (reference === '') return false
  for (let at = message.indexOf(reference); at >= 0; at = message.indexOf(reference, at + 1)) {
    const before = message[at - 1] ?? ' '
    const [after = ' ', next = ' '] = message.slice(at + reference.length)
    // A sentence may go on with a colon or end; CRI-O puts docker:// before the name.
    const ends = !inReference.test(after) || (/[.:]/.test(after) && !/[A-Za-z0-9_]/.test(next))
    if (ends && (!inReference.test(before) || before === '/')) return true
  }
  return false
}
