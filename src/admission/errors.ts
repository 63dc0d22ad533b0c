/** A body that is no AdmissionReview v1 of a request; the message names the field, and holds nothing of its content. */
export class ReviewError extends Error {
  readonly code = 'KIP_ADMISSION_REVIEW'
  readonly statusCode = 400
  override readonly name = 'ReviewError'
}
