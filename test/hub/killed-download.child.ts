/** `killed-download.child.ts <id> <endpoint> <cache>`: fetches a model and is killed when the first bytes of its weights are there. */

import { resolveModel } from '../../src/hub/resolve.ts'

const [id, endpoint, cacheDir] = process.argv.slice(2)
await resolveModel(id, {
  endpoint,
  cacheDir,
  token: false,
  offline: false,
  onProgress: ({ file, bytes }) => {
    if (file === 'model.safetensors' && bytes > 0) process.kill(process.pid, 'SIGKILL')
  },
})
