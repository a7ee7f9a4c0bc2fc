// What a frontend does: sign in, watch, insert a job, wait for its end, and download the file.
// Usage: node one_job.mjs JOB_TYPE METADATA; prints what was seen as one line of JSON.
import { createClient } from '@supabase/supabase-js'
import WebSocket from 'ws'

const { URL_OF_STACK: url, ANON_KEY: anonKey } = process.env
const [jobType, metadata] = process.argv.slice(2)

const client = createClient(url, anonKey, {
  auth: { persistSession: false, autoRefreshToken: false },
  // Node 20 has no WebSocket of its own.
  realtime: { transport: WebSocket },
})

const checked = ({ data, error }) => {
  if (error) throw error
  return data
}

const { user } = checked(await client.auth.signInAnonymously())
const seen = []
const ended = new Promise((resolve, reject) => {
  client
    .channel('my-jobs')
    .on(
      'postgres_changes',
      { event: '*', schema: 'public', table: 'jobs', filter: `user_id=eq.${user.id}` },
      ({ new: row }) => {
        seen.push([row.status, row.progress])
        if (['completed', 'failed', 'cancelled'].includes(row.status)) resolve(row)
      },
    )
    .on('system', {}, async ({ status, extension, message }) => {
      if (extension !== 'postgres_changes') return
      if (status !== 'ok') return reject(new Error(message))
      const job = { user_id: user.id, job_type: jobType, metadata: JSON.parse(metadata) }
      const { error } = await client.from('jobs').insert(job)
      if (error) reject(error)
    })
    .subscribe()
})

const row = await ended
const files = []
for (const { bucket, path } of row.result?.artifacts ?? []) {
  const file = checked(await client.storage.from(bucket).download(path))
  files.push({ type: file.type, size: file.size })
}
await client.removeAllChannels()
console.log(JSON.stringify({ user: user.id, seen, row, files }))
process.exit(0)
