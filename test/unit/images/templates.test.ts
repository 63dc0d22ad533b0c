import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import {
  allWorkloadKinds,
  podKind,
  podTemplateOf as templateOf,
  workloadKinds,
} from '../../../src/images/templates.ts'

const template = { metadata: { labels: { app: 'x' } }, spec: { containers: [{ image: 'nginx' }] } }

const rollout = { group: 'argoproj.io', version: 'v1alpha1', kind: 'Rollout', plural: 'rollouts' }
const batch = { ...rollout, kind: 'Batch', path: 'spec.tasks.pod' }
const kinds = [podKind, ...allWorkloadKinds([rollout, batch])]
const podTemplateOf = (name: string, object: unknown) =>
  templateOf(kinds.find(({ kind }) => kind === name) ?? assert.fail(name), object)

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

  it('finds the template of a custom resource where the settings say', () => {
    assert.equal(podTemplateOf('Rollout', { spec: { template } }), template)
    assert.equal(podTemplateOf('Batch', { spec: { tasks: { pod: template } } }), template)
    assert.equal(podTemplateOf('Batch', { spec: { template } }), undefined)
    assert.deepEqual(
      kinds.filter(({ isCustom }) => isCustom).map(({ kind }) => kind),
      ['Rollout', 'Batch'],
    )
  })

  it('is undefined for objects without a template', () => {
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
