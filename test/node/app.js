'use strict'
// An application with node's `pg`, run by a test: it does what the lines on its standard input say, and answers each with
// a line. The same program in Go, with pgx, is serveApp in ../app_test.go; ../driver_test.go is who talks to them.

const readline = require('readline')
const { Client, Pool } = require('pg')

const connections = new Map() // by number
const pools = new Map()
let numbers = 0

// adopt gives a connection a number. What it says unasked is kept until somebody hears it.
function adopt (client, release) {
  const one = { client, release, said: [], listeners: [] }
  const say = event => {
    one.said.push(event)
    one.listeners.splice(0).forEach(f => f())
  }
  one.handlers = {
    notification: n => say({ payload: n.payload }),
    error: e => { one.lost = true; say({ error: describe(e) }) },
    end: () => { one.lost = true; say({ error: { message: 'the connection has ended' } }) }
  }
  for (const [event, handler] of Object.entries(one.handlers)) client.on(event, handler)
  connections.set(++numbers, one)
  return { conn: numbers }
}

function describe (e) {
  const { severity, code, message, detail, hint } = e
  return { severity, code: /^[0-9A-Z]{5}$/.test(code) ? code : undefined, message, detail, hint }
}

// text writes a value as the Go program does.
function text (v) {
  if (v === null) return ''
  return Buffer.isBuffer(v) ? '\\x' + v.toString('hex') : String(v)
}

const operations = {
  async connect ({ url }) {
    const client = new Client({ connectionString: url })
    await client.connect()
    return adopt(client, () => client.end())
  },

  async pool ({ url, max }) {
    const pool = new Pool({ connectionString: url, max })
    pool.on('error', () => {}) // an idle connection was lost: the pool makes another
    pools.set(++numbers, pool)
    return { pool: numbers }
  },

  async acquire ({ pool }) {
    const client = await pools.get(pool).connect()
    return adopt(client, () => client.release())
  },

  async query ({ conn, sql, args }) {
    const { client } = connections.get(conn)
    const query = args ? { text: sql, values: args, rowMode: 'array' } : { text: sql, rowMode: 'array' }
    const results = await client.query(query)
    const last = Array.isArray(results) ? results[results.length - 1] : results
    return { rows: last.rows.map(row => row.map(text)) }
  },

  async hear ({ conn }) {
    const one = connections.get(conn)
    if (!one.said.length) await new Promise(resolve => one.listeners.push(resolve))
    return one.said.shift()
  },

  async end ({ conn }) {
    const one = connections.get(conn)
    connections.delete(conn)
    if (!one.lost) await one.release()
    for (const [event, handler] of Object.entries(one.handlers)) one.client.off(event, handler)
    return {}
  }
}

readline.createInterface({ input: process.stdin }).on('line', async line => {
  const request = JSON.parse(line)
  let answer
  try {
    answer = await operations[request.op](request)
  } catch (e) {
    answer = { error: describe(e) }
  }
  process.stdout.write(JSON.stringify({ id: request.id, ...answer }) + '\n')
}).on('close', () => process.exit(0))
