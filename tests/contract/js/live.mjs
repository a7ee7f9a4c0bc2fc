// Clients that stay: a worker, a frontend, a listener, a watcher, a guest. `node live.mjs NAME` runs one, which
// says what it does as lines of JSON; the expectations stand in the Python tests.
import { createClient } from '@supabase/supabase-js'
import WebSocket from 'ws'

const { URL_OF_STACK: url, ANON_KEY: anonKey, TOKEN: token, VSN: vsn } = process.env
const [name, ...words] = process.argv.slice(2)

const client = createClient(url, anonKey, {
  accessToken: async () => token,
  // Node 20 has no WebSocket of its own.
  realtime: { transport: WebSocket, ...(vsn ? { vsn } : {}) },
})
await client.realtime.setAuth(token)

const say = (what) => console.log(JSON.stringify(what))
const checked = ({ data, error }) => {
  if (error) throw error
  return data
}
const told = (channel) =>
  channel.subscribe((status, error) => say({ status, ...(error ? { error: error.message } : {}) }))

const scenarios = {
  // Hears the trigger's broadcast, claims one job, and finishes it.
  async worker() {
    const work = async () => {
      const jobs = checked(
        await client.rpc('claim_jobs', {
          p_worker_id: 'js',
          p_instance_id: crypto.randomUUID(),
          p_request_id: crypto.randomUUID(),
          p_demands: [{ job_types: ['chat'], count: 1 }],
          p_lease_s: 30,
        }),
      )
      for (const { claim_id, id } of jobs) {
        const finish = { claim_id, outcome: 'completed', result: { text: 'from JavaScript' } }
        const answer = checked(await client.rpc('finish_jobs', { p_finishes: [finish] }))
        say({ done: id, answer })
      }
    }
    told(
      client
        .channel('ourvidz:jobs', { config: { private: true } })
        .on('broadcast', { event: 'wake' }, () => work().catch((error) => say({ failed: error.message }))),
    )
  },

  // Inserts a job and watches it until it ends.
  async frontend() {
    const user_id = JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).sub
    const filter = `user_id=eq.${user_id}`
    client
      .channel('mine')
      .on('postgres_changes', { event: 'UPDATE', schema: 'public', table: 'jobs', filter }, ({ new: row }) =>
        say({ row: [row.status, row.result] }),
      )
      .on('system', {}, async ({ status, extension }) => {
        if (extension !== 'postgres_changes' || status !== 'ok') return
        const job = { user_id, job_type: 'chat', metadata: { prompt: 'a lake' } }
        say({ inserted: checked(await client.from('jobs').insert(job).select('status').single()).status })
      })
      .subscribe()
  },

  // Listens on a private topic, with a replay if told since when.
  async listener() {
    const [topic, since] = words
    const replay = since === undefined ? {} : { replay: { since: Number(since), limit: 10 } }
    told(
      client
        .channel(topic, { config: { private: true, broadcast: replay } })
        .on('broadcast', { event: '*' }, ({ event, payload, meta }) =>
          say({ event, n: payload.n, replayed: meta?.replayed ?? false }),
        ),
    )
  },

  // Watches a job while it runs, and puts its answer together as docs/jobs.md says.
  async watcher() {
    let answer = ''
    told(
      client
        .channel(`job:${words[0]}`, { config: { private: true } })
        .on('broadcast', { event: 'text' }, ({ payload }) => {
          answer = answer.slice(0, payload.offset) + payload.text
        })
        .on('broadcast', { event: 'answer' }, ({ payload }) => {
          answer = payload.text
        })
        .on('broadcast', { event: '*' }, ({ event, payload }) => say({ event, payload, answer })),
    )
  },

  // Says who is in a room, and answers whoever greets.
  async guest() {
    const channel = client.channel('room', { config: { presence: { key: 'js' } } })
    channel
      .on('presence', { event: 'join' }, ({ key }) => say({ joined: key }))
      .on('presence', { event: 'leave' }, ({ key }) => say({ left: key }))
      .on('broadcast', { event: 'hello' }, ({ payload }) => {
        say({ hello: payload.from })
        channel.send({ type: 'broadcast', event: 'answer', payload: { to: payload.from } })
      })
      .subscribe(async (status) => {
        if (status === 'SUBSCRIBED') await channel.track({ language: 'JavaScript' })
        say({ status })
      })
  },
}

await scenarios[name]()
