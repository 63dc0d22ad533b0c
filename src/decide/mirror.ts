import { type Verdict, verdict } from './codes.ts'
import { isUnwanted, type Subject } from './subject.ts'

/** Whether an image is to be copied to the backup: it is wanted, has a place there, and anybody may pull it. */
export function decideMirror(subject: Subject): Verdict {
  const { image, copy } = subject
  if ('code' in copy) return copy
  if (image === undefined) return verdict(false, 'UnknownImage')
  if (isUnwanted(image)) return verdict(false, 'NotWanted')
  switch (image.source?.state) {
    case undefined:
      return verdict(false, 'NotResolved')
    case 'NeedsCredentials':
      return verdict(false, 'NeedsCredentials')
    case 'Missing':
      return verdict(false, 'SourceMissing')
    case 'Unreachable':
      return verdict(false, 'SourceUnreachable')
    case 'Invalid':
      return verdict(false, 'SourceInvalid')
    case 'Available':
      return verdict(true, 'Mirror')
  }
}
