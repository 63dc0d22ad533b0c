/**
 * Measures copies inside a running process, which needs no start: `resident.ts LIST PASSES AT_A_TIME HOST...`; LIST has a
 * source and a target a line, the hosts speak plain http. Everything is there already. After passes that warm it up, it prints
 * the wall and CPU time of each image as JSON.
 */
import { readFileSync } from 'node:fs'
import { copyImages, createRegistryClient, parseReference } from '@containers/image-copy'

const [list = '', passes = '1', atATime = '1', ...hosts] = process.argv.slice(2)
const items = readFileSync(list, 'utf8')
  .trim()
  .split('\n')
  .map((line) => {
    const [source = '', target = ''] = line.split(' ')
    return { source: parseReference(source), target: parseReference(target) }
  })
const concurrency = Number(atATime)
const plain = new Set(hosts)
const client = createRegistryClient({ hosts: (host) => ({ http: plain.has(host) }) })

async function copyAll(times: number): Promise<void> {
  for (let pass = 0; pass < times; pass += 1) {
    for (const { error } of await copyImages(client, items, { concurrency })) if (error) throw error
  }
}

await copyAll(2)
const started = performance.now()
const before = process.cpuUsage()
await copyAll(Number(passes))
const { user, system } = process.cpuUsage(before)
const images = items.length * Number(passes)
const wallMs = (performance.now() - started) / images
const cpuMs = (user + system) / 1000 / images
await client.close()
process.stdout.write(JSON.stringify({ wallMs, cpuMs }))
