import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { podTemplateOf, workloadKinds } from '../../../src/images/templates.ts'

const template = { metadata: { labels: { app: 'x' } }, spec: { containers: [{ image: 'nginx' }] } }

describe('podTemplateOf', () => {
  for (const kind of [
    'Deployment',
    'StatefulSet',
    'DaemonSet',
    'ReplicaSet',
    'ReplicationController',
    'Job',
  ]) {
    it(`finds the template of a ${kind}`, () => {
      assert.equal(podTemplateOf(kind, { kind, spec: { template } }), template)
    })
  }

  it('finds the template of a CronJob below its job template', () => {
    assert.equal(
      podTemplateOf('CronJob', { spec: { jobTemplate: { spec: { template } } } }),
      template,
    )
  })

  it('takes a Pod as its own template', () => {
    assert.equal(podTemplateOf('Pod', template), template)
  })

  it('is undefined for other kinds and for objects without a template', () => {
    assert.equal(podTemplateOf('Service', { spec: { template } }), undefined)
    assert.equal(podTemplateOf('ReplicationController', { spec: {} }), undefined)
    assert.equal(podTemplateOf('Deployment', { spec: { template: {} } }), undefined)
    assert.equal(podTemplateOf('Deployment', null), undefined)
  })

  it('knows the API path of every kind', () => {
    assert.deepEqual(
      workloadKinds.map(({ group, version, plural }) => `${group}/${version}/${plural}`),
      [
        'apps/v1/deployments',
        'apps/v1/statefulsets',
        'apps/v1/daemonsets',
        'apps/v1/replicasets',
        '/v1/replicationcontrollers',
        'batch/v1/jobs',
        'batch/v1/cronjobs',
      ],
    )
  })
})
