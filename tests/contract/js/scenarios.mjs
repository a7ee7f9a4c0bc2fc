// Scenarios for the official JavaScript client. `node scenarios.mjs <name>` runs one and prints what
// the client answered as one line of JSON; the expectations stand in the Python tests.
import { createClient } from '@supabase/supabase-js'
import * as tus from 'tus-js-client'
import WebSocket from 'ws'

const { URL_OF_STACK: url, ANON_KEY: anonKey, SERVICE_ROLE_KEY: serviceKey } = process.env

const clientOf = (key) =>
  createClient(url, key, {
    auth: { persistSession: false, autoRefreshToken: false },
    // Node 20 has no WebSocket of its own.
    realtime: { transport: WebSocket },
  })

const service = clientOf(serviceKey)

const short = ({ data, error, count, status }) => ({
  status,
  data,
  ...(count === null ? {} : { count }),
  ...(error ? { code: error.code } : {}),
})

const scenarios = {
  async tables() {
    const table = () => service.from('js_things')
    return {
      insert: short(await table().insert([{ name: 'a' }, { name: 'b', size: 2 }])),
      duplicate: short(await table().insert({ name: 'a' })),
      returning: short(await table().insert({ name: 'c' }, { defaultToNull: false }).select('name,size')),
      upsert: short(await table().upsert({ name: 'a', size: 9 }, { onConflict: 'name' }).select('name,size')),
      page: short(await table().select('name', { count: 'exact' }).order('name').range(0, 1)),
      head: short(await table().select('*', { count: 'exact', head: true })),
      filtered: short(await table().select('name').or('name.eq.a,and(size.gt.1,name.neq.a)').order('name')),
      path: short(await table().select('name').eq('notes->>colour', 'red')),
      single: short(await table().select('name').eq('name', 'b').single()),
      none: short(await table().select('name').eq('name', 'x').maybeSingle()),
      several: short(await table().select('name').single()),
      update: short(await table().update({ size: 1 }).eq('name', 'c').select('size')),
      unfiltered: short(await table().delete()),
      remove: short(await table().delete().in('name', ['b', 'c'])),
    }
  },

  async filters() {
    const ids = async (narrow) => {
      const { data, error } = await narrow(service.from('js_books').select('id')).order('id')
      return error ? error.code : data.map((row) => row.id)
    }
    const odd = 'a,b "c" (d)'
    return {
      eq: await ids((rows) => rows.eq('id', 2)),
      neq: await ids((rows) => rows.neq('id', 2)),
      between: await ids((rows) => rows.gt('price', 9.5).lte('price', 12)),
      atLeast: await ids((rows) => rows.gte('id', 2).lt('id', 3)),
      like: await ids((rows) => rows.like('title', 'U%')),
      ilike: await ids((rows) => rows.ilike('title', '*ULY*')),
      likeAny: await ids((rows) => rows.likeAnyOf('title', ['E%', 'U%'])),
      likeAll: await ids((rows) => rows.likeAllOf('title', ['E%', '%a'])),
      isNull: await ids((rows) => rows.is('sold', null)),
      notNull: await ids((rows) => rows.not('sold', 'is', null)),
      in: await ids((rows) => rows.in('title', ['Emma', odd])),
      inNothing: await ids((rows) => rows.in('id', [])),
      notIn: await ids((rows) => rows.not('id', 'in', '(1,2)')),
      containsArray: await ids((rows) => rows.contains('tags', ['novel'])),
      containsObject: await ids((rows) => rows.contains('metadata', { pages: 300 })),
      containedBy: await ids((rows) => rows.containedBy('tags', ['novel', 'x'])),
      overlaps: await ids((rows) => rows.overlaps('tags', ['old', 'x'])),
      path: await ids((rows) => rows.eq('metadata->by->>name', 'Joyce')),
      or: await ids((rows) => rows.or(`title.eq."a,b \\"c\\" (d)",id.in.(1,7)`)),
      search: await ids((rows) => rows.textSearch('title', 'emma')),
      match: await ids((rows) => rows.match({ id: 1, title: 'Emma' })),
      filter: await ids((rows) => rows.filter('id', 'gte', 3)),
      limit: await ids((rows) => rows.limit(1)),
      unknownColumn: await ids((rows) => rows.eq('isbn', 1)),
    }
  },

  async functions() {
    return {
      scalar: short(await service.rpc('js_add', { a: 1, b: 2 })),
      read: short(await service.rpc('js_add', { a: 1, b: 2 }, { get: true })),
      nothing: short(await service.rpc('js_nothing')),
      unknown: short(await service.rpc('js_unknown', { x: 1 })),
      refused: short(await clientOf(anonKey).rpc('js_add', { a: 1, b: 2 })),
    }
  },

  async users() {
    const client = clientOf(anonKey)
    const anonymous = await client.auth.signInAnonymously()
    const credentials = { email: `${crypto.randomUUID()}@example.com`, password: 'correct horse' }
    const signedUp = await clientOf(anonKey).auth.signUp(credentials)
    const signedIn = await client.auth.signInWithPassword(credentials)
    const wrong = await clientOf(anonKey).auth.signInWithPassword({ ...credentials, password: 'x' })
    const seen = await client.rpc('js_who')
    const refreshed = await client.auth.refreshSession()
    const claims = await client.auth.getClaims()
    const out = await client.auth.signOut()
    return {
      anonymous: anonymous.data.user.is_anonymous,
      same: signedUp.data.user.id === signedIn.data.user.id && seen.data === signedIn.data.user.id,
      wrong: wrong.error.code,
      refreshed: refreshed.data.user.email === credentials.email,
      role: claims.data.claims.role,
      out: out.error,
    }
  },

  async files() {
    const name = `js-${crypto.randomUUID()}`
    await service.storage.createBucket(name, { public: true })
    const bucket = service.storage.from(name)
    const bytes = Buffer.from('raw bytes')
    const blob = new Blob(['in a form'], { type: 'text/plain' })
    const raw = await bucket.upload('u/raw.bin', bytes, { contentType: 'image/png' })
    const form = await bucket.upload('u/form.txt', blob, { metadata: { n: 1 } })
    const twice = await bucket.upload('u/raw.bin', bytes)
    const replaced = await bucket.upload('u/raw.bin', Buffer.from('new'), { upsert: true })
    const signed = await bucket.createSignedUrl('u/raw.bin', 60)
    const fetched = await fetch(signed.data.signedUrl)
    const open = await fetch(bucket.getPublicUrl('u/form.txt').data.publicUrl)
    const ticket = await bucket.createSignedUploadUrl('u/ticket.txt')
    await bucket.uploadToSignedUrl('u/ticket.txt', ticket.data.token, Buffer.from('t'))
    const listed = await bucket.list('u')
    const downloaded = await bucket.download('u/form.txt')
    const info = await bucket.info('u/form.txt')
    const there = [(await bucket.exists('u/form.txt')).data, (await bucket.exists('u/none')).data]
    const missing = await bucket.download('u/none')
    const removed = await bucket.remove(['u/raw.bin', 'u/form.txt', 'u/ticket.txt'])
    const gone = await service.storage.deleteBucket(name)
    return {
      raw: raw.data.fullPath === `${name}/u/raw.bin`,
      form: form.data.path,
      twice: [twice.error.status, twice.error.statusCode, twice.error.message],
      replaced: replaced.error,
      signed: await fetched.text(),
      open: [await open.text(), open.headers.get('content-type')],
      listed: listed.data.map((entry) => entry.name),
      downloaded: await downloaded.data.text(),
      info: [info.data.size, info.data.contentType, info.data.metadata],
      there,
      missing: missing.error !== null,
      removed: removed.data.length,
      gone: gone.data,
    }
  },

  async resumable() {
    const name = `js-${crypto.randomUUID()}`
    await service.storage.createBucket(name)
    const content = Buffer.alloc(1_000_000, 'video')
    const progress = []
    await new Promise((onSuccess, onError) =>
      new tus.Upload(content, {
        endpoint: `${url}/storage/v1/upload/resumable`,
        headers: { authorization: `Bearer ${serviceKey}`, 'x-upsert': 'true' },
        chunkSize: 400_000,
        metadata: { bucketName: name, objectName: 'v/a.mp4', contentType: 'video/mp4', cacheControl: '60' },
        onChunkComplete: (_, accepted) => progress.push(accepted),
        onSuccess,
        onError,
      }).start()
    )
    const { data } = await service.storage.from(name).download('v/a.mp4')
    return { progress, same: content.equals(Buffer.from(await data.arrayBuffer())), type: data.type }
  },

  async realtime() {
    const channel = service.channel('js')
    const seen = new Promise((resolve, reject) => {
      channel
        .on('postgres_changes', { event: 'INSERT', schema: 'public', table: 'js_things' }, resolve)
        .on('system', {}, async ({ status, extension }) => {
          if (extension !== 'postgres_changes') return
          if (status !== 'ok') reject(new Error(status))
          else await service.from('js_things').insert({ name: 'live' })
        })
        .subscribe()
    })
    const { eventType, table, new: row } = await seen
    await service.removeAllChannels()
    return { eventType, table, name: row.name }
  },
}

console.log(JSON.stringify(await scenarios[process.argv[2]]()))
process.exit(0)
