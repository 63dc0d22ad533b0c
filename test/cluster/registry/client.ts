import { isIP, type LookupFunction } from 'node:net'
import { Agent, type Dispatcher } from 'undici'
import { ClusterError } from '../errors.ts'
import { type Blob, type Image, mediaTypes } from '../images/image.ts'

export interface RegistryClientOptions {
  /** `https://origin.test:5000` */
  readonly url: string
  /** PEM that the registry's certificate is checked against; default: the system's authorities. */
  readonly authority?: string
  /** Address to dial instead of what the URL's host name resolves to. */
  readonly address?: string
  readonly user?: { readonly username: string; readonly password: string }
  /** Opens the connections; default: this process, in its own network namespace. */
  readonly dispatcher?: Dispatcher
}

export interface RawManifest {
  readonly mediaType: string
  readonly digest: string
  readonly bytes: Buffer
}

const MANIFESTS = [
  ...[mediaTypes.oci.manifest, mediaTypes.oci.index],
  ...[mediaTypes.docker.manifest, mediaTypes.docker.index],
].join(', ')

/** Uploads at a time for one image; more only wait for each other on two cores. */
const PARALLEL_UPLOADS = 4

/**
 * Fills and looks at a registry for tests. It shares nothing with the copier under test, so that one can be judged by the other.
 */
export class TestRegistryClient implements AsyncDisposable {
  readonly #url: string
  readonly #authorization: string | undefined
  readonly #dispatcher: Dispatcher

  constructor(options: RegistryClientOptions) {
    this.#url = options.url
    const { user } = options
    this.#authorization =
      user && `Basic ${Buffer.from(`${user.username}:${user.password}`).toString('base64')}`
    this.#dispatcher = options.dispatcher ?? agentFor(options)
  }

  /** Whether the registry answers at all. */
  async answers(signal?: AbortSignal): Promise<boolean> {
    const answer = await this.#send('GET', '/v2/', { ...(signal && { signal }) })
    return answer.status === 200 || answer.status === 401
  }

  /**
   * Puts an image with everything below it into a repository; blobs that are there are not sent again.
   *
   * @param tag - default: none, so that it is known by its digest only
   * @returns its digest
   */
  async push(image: Image, repository: string, tag?: string): Promise<string> {
    for (const child of image.children) await this.push(child, repository)
    const waiting = [...new Map(image.blobs.map((blob) => [blob.digest, blob])).values()]
    const next = async (): Promise<void> => {
      for (let blob = waiting.pop(); blob; blob = waiting.pop())
        await this.#upload(blob, repository)
    }
    await Promise.all(Array.from({ length: PARALLEL_UPLOADS }, next))
    await this.#putManifest(repository, tag ?? image.digest, image)
    return image.digest
  }

  /** The bytes of a manifest as the registry has them; undefined when it has none of that name. */
  async manifest(repository: string, reference: string): Promise<RawManifest | undefined> {
    const path = `/v2/${repository}/manifests/${reference}`
    const { status, body, headers } = await this.#send('GET', path, {
      headers: { accept: MANIFESTS },
    })
    if (status === 404) return undefined
    if (status !== 200) throw this.#unexpected('GET', path, status, body)
    return {
      mediaType: headers.get('content-type') ?? '',
      digest: headers.get('docker-content-digest') ?? '',
      bytes: body,
    }
  }

  async hasBlob(repository: string, digest: string): Promise<boolean> {
    return (await this.#send('HEAD', `/v2/${repository}/blobs/${digest}`)).status === 200
  }

  async blob(repository: string, digest: string): Promise<Buffer | undefined> {
    const { status, body } = await this.#send('GET', `/v2/${repository}/blobs/${digest}`)
    return status === 200 ? body : undefined
  }

  /** Tags of a repository, sorted; none when there is no such repository. */
  async tags(repository: string): Promise<readonly string[]> {
    const path = `/v2/${repository}/tags/list`
    const { status, body } = await this.#send('GET', path)
    if (status === 404) return []
    if (status !== 200) throw this.#unexpected('GET', path, status, body)
    const list: { readonly tags: readonly string[] | null } = JSON.parse(body.toString())
    return [...(list.tags ?? [])].sort()
  }

  async repositories(): Promise<readonly string[]> {
    const path = '/v2/_catalog?n=1000'
    const { status, body } = await this.#send('GET', path)
    if (status !== 200) throw this.#unexpected('GET', path, status, body)
    const list: { readonly repositories: readonly string[] } = JSON.parse(body.toString())
    return list.repositories
  }

  /**
   * Deletes a manifest, and with it every tag of the repository that points at it. Its blobs and the images of an index
   * stay, known by their digests.
   */
  async deleteImage(repository: string, reference: string): Promise<void> {
    const found = await this.manifest(repository, reference)
    if (!found) throw this.#missing(repository, reference)
    const path = `/v2/${repository}/manifests/${found.digest}`
    const { status, body } = await this.#send('DELETE', path)
    if (status !== 202) throw this.#unexpected('DELETE', path, status, body)
  }

  /** Points a tag at another manifest of the same repository. */
  async retag(repository: string, tag: string, digest: string): Promise<void> {
    const found = await this.manifest(repository, digest)
    if (!found) throw this.#missing(repository, digest)
    await this.#putManifest(repository, tag, found)
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #upload(blob: Blob, repository: string): Promise<void> {
    if (await this.hasBlob(repository, blob.digest)) return
    const path = `/v2/${repository}/blobs/uploads/`
    const { status, headers, body } = await this.#send('POST', path)
    if (status !== 202) throw this.#unexpected('POST', path, status, body)
    const location = new URL(headers.get('location') ?? '', this.#url)
    location.searchParams.set('digest', blob.digest)
    const target = `${location.pathname}${location.search}`
    const put = await this.#send('PUT', target, {
      headers: { 'content-type': 'application/octet-stream' },
      body: await blob.read(),
    })
    if (put.status !== 201) throw this.#unexpected('PUT', path, put.status, put.body)
  }

  async #putManifest(
    repository: string,
    reference: string,
    manifest: Pick<RawManifest, 'bytes' | 'mediaType'>,
  ): Promise<void> {
    const path = `/v2/${repository}/manifests/${reference}`
    const headers = { 'content-type': manifest.mediaType }
    const { status, body } = await this.#send('PUT', path, { headers, body: manifest.bytes })
    if (status !== 201) throw this.#unexpected('PUT', path, status, body)
  }

  async #send(
    method: Dispatcher.HttpMethod,
    path: string,
    options: {
      readonly headers?: Readonly<Record<string, string>>
      readonly body?: Buffer
      readonly signal?: AbortSignal
    } = {},
  ): Promise<{ readonly status: number; readonly headers: Headers; readonly body: Buffer }> {
    const authorization = this.#authorization && { authorization: this.#authorization }
    const answer = await this.#dispatcher.request({
      origin: this.#url,
      path,
      method,
      headers: { 'user-agent': 'kip-test', ...authorization, ...options.headers },
      body: options.body ?? null,
      signal: options.signal ?? null,
    })
    const headers = new Headers()
    for (const [name, value] of Object.entries(answer.headers)) headers.set(name, String(value))
    const body = Buffer.from(await answer.body.arrayBuffer())
    return { status: answer.statusCode, headers, body }
  }

  #missing(repository: string, reference: string): ClusterError {
    const text = `${this.#url} has no ${repository} ${reference}`
    return new ClusterError('KIP_CLUSTER_USAGE', text)
  }

  #unexpected(method: string, path: string, status: number, body: Buffer): ClusterError {
    const text = `${method} ${this.#url}${path}: status ${status}: ${body.toString().slice(0, 500)}`
    return new ClusterError('KIP_CLUSTER_COMPONENT', text)
  }
}

function agentFor({ address, authority }: RegistryClientOptions): Agent {
  return new Agent({
    connections: 2 * PARALLEL_UPLOADS,
    // Over HTTP/2 a large body ends in ENHANCE_YOUR_CALM.
    allowH2: false,
    connect: {
      ...(authority && { ca: authority }),
      ...(address && { lookup: always(address) }),
      timeout: 5000,
    },
  })
}

function always(address: string): LookupFunction {
  const family = isIP(address)
  return (_host, { all }, done) =>
    all ? done(null, [{ address, family }]) : done(null, address, family)
}
