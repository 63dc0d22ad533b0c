import { parse } from 'yaml'
import { quantity } from './patterns.ts'
import type { SettingSchema } from './schema-types.ts'

/**
 * Reads the text of a variable or flag as the setting's type wants it.
 *
 * Lists of names: `a;b`, `a,b`, or lines. Maps and lists of maps: JSON, JSON whose quotes were escaped once too often
 * (as templates do), or YAML. Text that cannot be read is given back as it is, for the validation to refuse.
 */
export function parseText(schema: SettingSchema<unknown>, text: string): unknown {
  switch (schema.type) {
    case 'string':
      return text
    case 'integer':
    case 'number':
      return /^[+-]?(\d+\.?\d*|\.\d+)$/.test(text.trim()) ? Number(text) : text
    case 'boolean':
      return { true: true, false: false }[text.trim().toLowerCase()] ?? text
    case 'array':
      return isNameList(schema) && !text.trimStart().startsWith('[')
        ? splitNames(text)
        : (structure(text) ?? [])
    case 'object':
      return structure(text) ?? {}
  }
}

/**
 * Brings what the file holds to the setting's type where it is only written otherwise.
 *
 * @param written The value as it stands there: a password of `0123` is not that of `123`.
 */
export function parseFileValue(
  schema: SettingSchema<unknown>,
  value: unknown,
  written: unknown,
): unknown {
  if (typeof value === 'string') return parseText(schema, value)
  if (schema.type === 'string' && (typeof value === 'number' || typeof value === 'boolean')) {
    const name = String(value)
    // An amount is the same however it is written, and a template that only writes it otherwise would roll all pods.
    return schema.enum?.includes(name) || schema.pattern === quantity ? name : written
  }
  return value
}

/** A value as it may stand in a message: short, and without userinfo. */
export function show(schema: SettingSchema<unknown>, value: unknown): string {
  if (schema['x-secret']) return 'the value'
  const text = typeof value === 'string' ? `'${value}'` : (JSON.stringify(value) ?? 'nothing')
  const redacted = text.replace(/[^\s/'"]+@(?!sha\d+:)/g, '[redacted]@')
  return redacted.length > 80 ? `${redacted.slice(0, 77)}…` : redacted
}

function isNameList(schema: SettingSchema<unknown>): boolean {
  return schema.items !== undefined && 'type' in schema.items && schema.items.type === 'string'
}

function splitNames(text: string): string[] {
  return text.split(/[;,\s]+/).filter((name) => name !== '')
}

function structure(text: string): unknown {
  for (const read of [readJson, readEscapedJson, readYaml]) {
    try {
      return read(text)
    } catch {
      // Not this form; the next, and in the end the validation, which has the better message.
    }
  }
  return text
}

function readJson(text: string): unknown {
  const value: unknown = JSON.parse(text)
  return typeof value === 'string' ? JSON.parse(value) : value
}

function readEscapedJson(text: string): unknown {
  return JSON.parse(text.replaceAll('\\"', '"'))
}

function readYaml(text: string): unknown {
  return parse(text, { logLevel: 'error' })
}
