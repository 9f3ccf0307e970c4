'use strict'
// What applications with node's `pg` do beyond plain queries. Each feature writes a line {feature, ...what came of it} that
// ../apps_test.go checks. Its argument is the address to connect to.

const { Client, Pool } = require('pg')

const url = process.argv[2]
const MB = 1 << 20

// Copy is a query object of pg's for COPY: it sends the chunks, or gathers what comes.
class Copy {
  constructor (text, chunks) {
    Object.assign(this, { text, chunks, received: [] })
    this.done = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }))
  }

  submit (connection) { connection.query(this.text) }
  handleCopyInResponse (connection) {
    for (const chunk of this.chunks) connection.sendCopyFromChunk(Buffer.from(chunk))
    connection.endCopyFrom()
  }

  handleCopyData (message) { this.received.push(Buffer.from(message.chunk)) } // a copy: pg uses its buffer again
  handleCommandComplete () {}
  handleReadyForQuery () { this.resolve(Buffer.concat(this.received).toString()) }
  handleError (e) { this.reject(e) }
  callback () {}
}

const features = {
  // One pool, more work than connections; every statement is prepared under a name, on whatever connection it meets.
  async 'named statements in a pool' () {
    const pool = new Pool({ connectionString: url, max: 10 })
    const answers = await Promise.all(Array.from({ length: 300 }, (_, i) =>
      pool.query({ name: 'statement ' + i % 7, text: `SELECT $1::int + ${i % 7} AS sum`, values: [i] })))
    await pool.end()
    return { wrong: answers.filter((a, i) => a.rows[0].sum !== i + i % 7).length }
  },

  async 'transactions in a pool' () {
    const pool = new Pool({ connectionString: url, max: 10 })
    await pool.query('CREATE TABLE entries (n int)')
    await Promise.all(Array.from({ length: 60 }, async (_, i) => {
      const client = await pool.connect()
      try {
        await client.query('BEGIN')
        await client.query('INSERT INTO entries VALUES ($1)', [i])
        if (i % 3 === 0) throw new Error('changed its mind')
        await client.query('COMMIT')
      } catch {
        await client.query('ROLLBACK')
      } finally {
        client.release()
      }
    }))
    const { rows } = await pool.query('SELECT count(*)::int AS n FROM entries')
    await pool.end()
    return rows[0]
  },

  async 'copy both ways' () {
    const client = new Client(url)
    await client.connect()
    await client.query('CREATE TABLE copied (a int, b text)')
    const lines = Array.from({ length: 10000 }, (_, i) => `${i}\trow ${i}\n`)
    const into = new Copy('COPY copied FROM STDIN', lines)
    client.query(into)
    await into.done
    const back = new Copy('COPY (SELECT * FROM copied ORDER BY a) TO STDOUT')
    client.query(back)
    const text = await back.done
    const bad = new Copy('COPY copied FROM STDIN', ['not a number\tx\n'])
    client.query(bad)
    const code = await bad.done.then(() => 'none', e => e.code)
    const { rows } = await client.query('SELECT count(*)::int AS n FROM copied')
    await client.end()
    return { same: text === lines.join(''), code, ...rows[0] }
  },

  async 'a parameter of 20 MB' () {
    const client = new Client(url)
    await client.connect()
    const { rows } = await client.query('SELECT length($1::bytea) AS n', [Buffer.alloc(20 * MB, 'x')])
    await client.end()
    return rows[0]
  },

  async 'a result of 50 MB' () {
    const client = new Client(url)
    await client.connect()
    const { rows } = await client.query("SELECT repeat('x', 1 << 20) AS x FROM generate_series(1, 50)")
    await client.end()
    return { n: rows.reduce((sum, row) => sum + row.x.length, 0) }
  }
}

async function main () {
  for (const [feature, run] of Object.entries(features)) {
    process.stdout.write(JSON.stringify({ feature, ...await run() }) + '\n')
  }
}

main().catch(e => { console.error(e); process.exit(1) })
