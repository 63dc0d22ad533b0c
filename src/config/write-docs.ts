import { writeFileSync } from 'node:fs'
import { renderConfigurationPage } from './docs.ts'

writeFileSync(new URL('../../docs/configuration.md', import.meta.url), renderConfigurationPage())
