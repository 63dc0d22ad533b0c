import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sleepSources } from '../../../sleep/build.ts'
import { cachedBuild, contentKey } from '../cache.ts'
import type { Report } from '../progress.ts'
import { busyboxEntries, programLayers } from './debian-layers.ts'
import {
  attestationOf,
  hostPlatform,
  type Image,
  imageOf,
  indexOf,
  type Layer,
  layerOf,
  type Platform,
} from './image.ts'
import { readLayout, writeLayout } from './layout.ts'

/** The images that tests run, by repository, each with the tag it is known under. Any number more comes from `tinyImage`. */
export const testImageTags = {
  /** Static busybox; runs `sh`. */
  busybox: '1',
  /** nginx on port 8080, with Debian's libraries. */
  nginx: '1',
  /** Redis on port 6379; shares its first layer with nginx. */
  redis: '7',
  /** An index of two platforms with BuildKit's attestations; busybox on this machine's. */
  'multi-platform': '1',
  /** busybox by Docker's media types: one image, and a manifest list of two platforms. */
  docker: '1',
  'docker-list': '1',
  /** busybox in zstd layers. */
  zstd: '1',
  /** Nothing but the static `sleep`. */
  scratch: '1',
  /** Files and no program, for an image volume: `/greeting` says `hello`. */
  content: '1',
  /** What a pod's sandbox runs. */
  pause: '3.10',
} as const

export type TestImageName = keyof typeof testImageTags

export type TestImages = Readonly<Record<TestImageName, Image>>

/**
 * All test images, from the cache or newly made of Debian's packages; the same bytes as long as the cache has them.
 *
 * @param options.sleepProgram - path of the static `sleep`
 */
export async function testImages(options: {
  readonly sleepProgram: string
  readonly report: Report
  readonly signal?: AbortSignal
}): Promise<TestImages> {
  const signal = options.signal && { signal: options.signal }
  const sources = ['catalogue', 'debian-layers', 'debian-tree', 'image', 'layout', 'tar'].map(
    (name) => fileURLToPath(new URL(`${name}.ts`, import.meta.url)),
  )
  const files = [...sources, ...sleepSources].map((file) => ({ file }))
  const folder = await cachedBuild({
    ...{ name: 'test-images', report: options.report, ...signal },
    key: await contentKey([process.arch, ...files]),
    step: 'making the test images',
    expectedSeconds: 10,
    build: async (into) => {
      const images = await makeImages(await readFile(options.sleepProgram), { ...signal })
      for (const [name, image] of Object.entries(images))
        await writeLayout(join(into, name), image, testImageTags[name as TestImageName])
    },
  })
  const names = Object.keys(testImageTags) as TestImageName[]
  const images = names.map(async (name) => [name, await readLayout(join(folder, name))] as const)
  return Object.fromEntries(await Promise.all(images)) as Record<TestImageName, Image>
}

async function makeImages(
  sleep: Buffer,
  options: { readonly signal?: AbortSignal },
): Promise<TestImages> {
  const [busyboxFiles, nginxLayers, redisLayers] = await Promise.all([
    busyboxEntries(options),
    programLayers({ ...nginx, ...options }),
    programLayers({ ...redis, ...options }),
  ])
  const program = layerOf(busyboxFiles)
  /** busybox, each with a small layer of its own, so that no two of the images are one. */
  const variant = (name: string, platform = hostPlatform(), format: 'oci' | 'docker' = 'oci') =>
    imageOf({ layers: [program, note(name)], config: shell, platform, format })
  const here = variant('multi-platform')
  const there = foreignImage('multi-platform')
  const docker = variant('docker', hostPlatform(), 'docker')
  const pause = { kind: 'file', path: '/pause', content: sleep, mode: 0o755 } as const
  const alone = { kind: 'file', path: '/sleep', content: sleep, mode: 0o755 } as const
  return {
    busybox: imageOf({ layers: [program], config: shell }),
    nginx: imageOf({
      layers: nginxLayers,
      config: {
        Entrypoint: ['/usr/sbin/nginx', '-g', 'daemon off;'],
        ExposedPorts: { '8080/tcp': {} },
        StopSignal: 'SIGQUIT',
      },
    }),
    redis: imageOf({
      layers: redisLayers,
      config: {
        Entrypoint: ['/usr/bin/redis-server'],
        Cmd: ['--save', '', '--dir', '/tmp', '--protected-mode', 'no'],
        ExposedPorts: { '6379/tcp': {} },
      },
    }),
    'multi-platform': indexOf([
      { image: here, platform: hostPlatform() },
      { image: there, platform: foreignPlatform() },
      attestationOf(here),
      attestationOf(there),
    ]),
    docker,
    'docker-list': indexOf(
      [
        { image: variant('docker-list', hostPlatform(), 'docker'), platform: hostPlatform() },
        { image: foreignImage('docker-list', 'docker'), platform: foreignPlatform() },
      ],
      'docker',
    ),
    zstd: imageOf({ layers: [layerOf(busyboxFiles, 'zstd'), note('zstd', 'zstd')], config: shell }),
    scratch: imageOf({
      layers: [layerOf([alone])],
      config: { Entrypoint: ['/sleep'], Cmd: ['infinity'], User: '65532:65532' },
    }),
    content: imageOf({
      layers: [
        layerOf([
          { kind: 'file', path: '/greeting', content: 'hello\n' },
          { kind: 'file', path: '/folder/numbers', content: '1\n2\n3\n' },
        ]),
      ],
    }),
    pause: imageOf({
      layers: [layerOf([pause])],
      config: { Entrypoint: ['/pause', 'infinity'], User: '65535:65535' },
    }),
  }
}

const shell = { Cmd: ['/bin/sh'], Env: ['PATH=/bin'] }

function note(text: string, compression: 'gzip' | 'zstd' = 'gzip'): Layer {
  return layerOf([{ kind: 'file', path: '/etc/kip-test-image', content: `${text}\n` }], compression)
}

function foreignPlatform(): Platform {
  const architecture = hostPlatform().architecture === 'arm64' ? 'amd64' : 'arm64'
  return { os: 'linux', architecture, ...(architecture === 'arm64' && { variant: 'v8' }) }
}

/** No node here ever runs it: it has to be copied, not to work. */
function foreignImage(name: string, format: 'oci' | 'docker' = 'oci'): Image {
  const platform = foreignPlatform()
  const layers = [note(`${name} for ${platform.architecture}`)]
  return imageOf({ layers, config: shell, platform, format })
}

const nginx = {
  packages: ['nginx', 'libcrypt1', 'libpcre2-8-0', 'libssl3', 'zlib1g'],
  program: '/usr/sbin/nginx',
  files: [
    {
      kind: 'file',
      path: '/etc/nginx/nginx.conf',
      content: `pid /tmp/nginx.pid;
worker_processes 1;
error_log /dev/stderr;
events {}
http {
  access_log /dev/stdout;
  client_body_temp_path /tmp/body;
  proxy_temp_path /tmp/proxy;
  fastcgi_temp_path /tmp/fastcgi;
  uwsgi_temp_path /tmp/uwsgi;
  scgi_temp_path /tmp/scgi;
  server {
    listen 8080;
    location / { return 200 "nginx\\n"; }
  }
}
`,
    },
    { kind: 'folder', path: '/var/log/nginx' },
  ],
} as const

/** Debian's redis-server is a link to another name of the same program, which looks at the name it was started by. */
const redis = {
  packages: [
    ...['redis-tools', 'libjemalloc2', 'liblua5.1-0', 'lua-bitop', 'lua-cjson', 'libhiredis0.14'],
    ...['liblzf1', 'libssl3', 'libatomic1', 'libgcc-s1', 'libstdc++6', 'libsystemd0', 'libcap2'],
    ...['libgcrypt20', 'libgpg-error0', 'liblz4-1', 'liblzma5', 'libzstd1'],
  ],
  program: '/usr/bin/redis-check-rdb',
  installAs: '/usr/bin/redis-server',
} as const
