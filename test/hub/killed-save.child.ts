/** `killed-save.child.ts <directory>`: saves a model of two shards over what is there, and is killed before the second. */

import { writeModelDirectory } from '../../src/hub/saving.ts'

const killed = () => {
  process.kill(process.pid, 'SIGKILL')
  return new Promise<never>(() => {})
}
await writeModelDirectory(process.argv[2], {
  config: {},
  tensors: [
    ['a', { shape: [400_000], data: new Float32Array(400_000) }],
    ['b', { shape: [1], data: killed }],
  ],
  maximumShardBytes: 4,
})
