/** etcd of a test cluster, by its JSON gateway. */
export interface Etcd {
  /** Key and value of all that is below a key. */
  below(prefix: string): Promise<readonly (readonly [string, Buffer])[]>
  /**
   * Stores a value that nobody asked the API server for; it learns of it by its watch. One at a time: whoever's watch breaks off
   * between two of one revision never hears of the second.
   */
  put(key: string, value: Buffer): Promise<void>
  /** Bytes that were ever put, and that are in use. */
  sizes(): Promise<{ readonly put: number; readonly inUse: number }>
}

interface KeyValue {
  readonly key: string
  readonly value: string
}

export function etcdAt(port: number, signal: AbortSignal): Etcd {
  const base = `http://127.0.0.1:${port}`
  const post = async <T>(path: string, body: object): Promise<T> => {
    const answer = await fetch(`${base}${path}`, {
      method: 'POST',
      body: JSON.stringify(body),
      signal,
    })
    if (!answer.ok) throw new Error(`etcd ${path}: ${answer.status} ${await answer.text()}`)
    return (await answer.json()) as T
  }
  return {
    async below(prefix) {
      const key = Buffer.from(prefix)
      // The end is the prefix with its last byte one higher.
      const end = Buffer.from(key)
      end[end.length - 1] = (end.at(-1) ?? 0) + 1
      const { kvs = [] } = await post<{ readonly kvs?: readonly KeyValue[] }>('/v3/kv/range', {
        key: key.toString('base64'),
        range_end: end.toString('base64'),
      })
      return kvs.map(({ key, value }) => [
        Buffer.from(key, 'base64').toString(),
        Buffer.from(value, 'base64'),
      ])
    },
    async put(key, value) {
      await post('/v3/kv/put', {
        key: Buffer.from(key).toString('base64'),
        value: value.toString('base64'),
      })
    },
    async sizes() {
      const text = await (await fetch(`${base}/metrics`, { signal })).text()
      const read = (name: string): number =>
        Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1] ?? Number.NaN)
      return {
        put: read('etcd_debugging_mvcc_total_put_size_in_bytes'),
        inUse: read('etcd_mvcc_db_total_size_in_use_in_bytes'),
      }
    },
  }
}
