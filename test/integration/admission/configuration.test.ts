import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'
import { isRight } from '../../../src/admission/configuration-store.ts'
import { buildConfiguration } from '../../../src/admission/webhook-configuration.ts'
import { defaultSettings } from '../../../src/config/leaves.ts'
import { resourcePath } from '../../../src/kube/resource.ts'
import type { MutatingWebhookConfiguration } from '../../../src/kube/types.ts'
import { clusterBed } from '../../support/cluster-bed.ts'

const { signal } = new AbortController()
const bed = await clusterBed()
after(() => bed.close())

const plural = 'mutatingwebhookconfigurations'
const path = resourcePath({ group: 'admissionregistration.k8s.io', version: 'v1', plural })

describe('webhook configuration at a real API server', () => {
  it('is given back as it was built, with any selector of namespaces', async () => {
    const namespaceSelector = {
      matchLabels: { care: 'true', 'example.com/team': '' },
      matchExpressions: [
        { key: 'a', operator: 'Exists', values: [] },
        { key: 'b', operator: 'DoesNotExist' },
        { key: 'c', operator: 'In', values: ['z', 'y', 'y'] },
        { key: 'c', operator: 'NotIn', values: ['x'] },
      ],
    }
    const discovery = { ...defaultSettings.discovery, namespaceSelector }
    const built = buildConfiguration({
      settings: { ...defaultSettings, discovery },
      excluded: [],
      bundle: '',
    })
    const body = { ...built, metadata: { ...built.metadata, name: 'kip-dry-run' } }
    const query = { dryRun: 'All' }
    const answer = await bed.client.request<MutatingWebhookConfiguration>({
      method: 'POST',
      path,
      query,
      body,
      signal,
    })
    assert.deepEqual(
      answer.webhooks?.[0]?.namespaceSelector,
      built.webhooks?.[0]?.namespaceSelector,
    )
    assert.equal(isRight(answer, body), true)
  })
})
