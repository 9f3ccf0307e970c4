'use strict'
// Named checks: each prints one line, "ok NAME" or "not ok NAME: why"; the last line is the plan, "1..N".

const assert = require('assert')

const limit = 20000 // milliseconds that a check may take

// late rejects when a check has taken too long.
function late () {
  let timer
  const over = new Promise((resolve, reject) => { timer = setTimeout(() => reject(new Error('took more than 20 s')), limit) })
  return { over, stop: () => clearTimeout(timer) }
}

// run performs the checks one after the other; the process ends with the last, whatever still waits.
async function run (checks) {
  for (const [name, check] of Object.entries(checks)) {
    const alarm = late()
    try {
      await Promise.race([check(), alarm.over])
      console.log(`ok ${name}`)
    } catch (e) {
      const at = /(\w+\.js:\d+):\d+\)?$/m.exec((e.stack || '').replace(/.*harness.js.*/g, ''))
      console.log(`not ok ${name}: ${String(e.message).replace(/\s+/g, ' ')} ${at ? at[1] : ''}`)
    } finally {
      alarm.stop()
    }
  }
  console.log(`1..${Object.keys(checks).length}`)
  process.exit(0)
}

// fails wants a promise to be rejected with this SQLSTATE (or code of the driver), and gives the error.
async function fails (promise, code) {
  const e = await promise.then(() => null, e => e)
  assert.ok(e, `no error ${code}`)
  assert.strictEqual(e.code, code, e.message)
  return e
}

// each calls work(0..n-1) at once.
const each = (n, work) => Promise.all(Array.from({ length: n }, (_, i) => work(i)))

module.exports = { run, fails, each, equal: assert.deepStrictEqual }
