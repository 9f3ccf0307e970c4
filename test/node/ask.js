'use strict'
// Node's `pg`, asked by a test: each line has a URL, a mode and statements, with tabs in between. It connects, runs them and
// leaves, and answers by a line: "ok" with what each gave, or "error" with SQLSTATE and message. See ../ask_test.go.

const readline = require('readline')
const { Client } = require('pg')

async function ask (url, mode, ...statements) {
  const client = new Client({ connectionString: url, enableChannelBinding: true })
  client.on('error', () => {}) // the query that it ends tells
  await client.connect()
  try {
    const found = []
    for (const [i, text] of statements.entries()) {
      const how = { simple: {}, extended: { queryMode: 'extended' }, prepared: { name: 'statement ' + i } }[mode]
      let result = await client.query({ text, rowMode: 'array', ...how })
      if (mode === 'prepared') result = await client.query({ text, rowMode: 'array', ...how })
      found.push(result.rows.map(row => row.join('|').replace(/\s+/g, ' ')).join(';'))
    }
    return found
  } finally {
    await client.end()
  }
}

async function serve () {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    let answer
    try {
      answer = ['ok', ...await ask(...line.split('\t'))]
    } catch (e) {
      answer = ['error', /^[0-9A-Z]{5}$/.test(e.code) ? e.code : '', e.message.replace(/\s+/g, ' ')]
    }
    process.stdout.write(answer.join('\t') + '\n')
  }
}

serve()
