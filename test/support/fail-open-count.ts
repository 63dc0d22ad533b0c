import { webhookName } from '../../certs/trusted-bundle.ts'
import type { KubeClient } from '../../src/kube/client.ts'

/** How often the API server had no answer of kip's webhook and made the pod as it was, since it started. */
export async function failOpenCount(client: KubeClient): Promise<number> {
  const { signal } = new AbortController()
  const { body } = await client.raw({ method: 'GET', path: '/metrics', accept: '*/*', signal })
  const counts = body
    .toString()
    .matchAll(/^apiserver_admission_webhook_fail_open_count\{(.*)\} (\d+)$/gm)
  return [...counts].reduce(
    (sum, [, labels, value]) => (labels?.includes(`"${webhookName}"`) ? sum + Number(value) : sum),
    0,
  )
}
