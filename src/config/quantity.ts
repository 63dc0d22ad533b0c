const factors: Readonly<Record<string, number>> = {
  n: 1e-9,
  u: 1e-6,
  m: 1e-3,
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  E: 1e18,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
  Ei: 2 ** 60,
}

/** A Kubernetes quantity as a number, exact enough to compare two; `NaN` for what is none. */
export function quantityValue(text: string): number {
  const [, number = '', exponent, suffix = ''] =
    /^([0-9.]+)(?:([eE][+-]?[0-9]+)|([a-zA-Z]*))$/.exec(text) ?? []
  if (number === '') return Number.NaN
  return exponent === undefined
    ? Number(number) * (factors[suffix] ?? Number.NaN)
    : Number(`${number}${exponent}`)
}
