// Exercises @clickhouse/client against the server whose address is the first argument; throws where it is not right.
import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { ClickHouseLogLevel, createClient } from '@clickhouse/client'

const url = process.argv[2]
const table = process.argv[3]

for (const compression of [{}, { request: true, response: true }]) {
  const client = createClient({ url, compression, log: { level: ClickHouseLogLevel.OFF } })
  try {
    assert.equal((await client.ping()).success, true)
    await client.command({
      query: `CREATE TABLE ${table} (n UInt64, s String) ENGINE = MergeTree ORDER BY n`,
      clickhouse_settings: { wait_end_of_query: 1 },
    })

    const inserted = await client.insert({
      table,
      values: [{ n: '1', s: "it's" }, { n: '2', s: '届け' }],
      format: 'JSONEachRow',
    })
    assert.equal(inserted.executed, true)
    assert.equal(inserted.summary.written_rows, '2')
    const lines = Readable.from((function* () { for (let n = 10; n < 50010; n++) yield { n, s: `text ${n}` } })())
    await client.insert({ table, values: lines, format: 'JSONEachRow' })
    await client.insert({ table, values: Readable.from(['3,x\n', '4,"y"\n'], { objectMode: false }), format: 'CSV' })

    const chosen = await client.query({
      query: `SELECT n, s FROM ${table} WHERE n <= {least: UInt64} AND s != {text: String} ORDER BY n`,
      format: 'JSONEachRow',
      query_params: { least: 4, text: 'x' },
      clickhouse_settings: { output_format_json_quote_64bit_integers: 0 },
    })
    assert.deepEqual(await chosen.json(), [{ n: 1, s: "it's" }, { n: 2, s: '届け' }, { n: 4, s: 'y' }])
    assert.equal(typeof chosen.query_id, 'string')
    const whole = await (await client.query({ query: `SELECT count() AS c FROM ${table}`, format: 'JSON' })).json()
    assert.deepEqual([whole.rows, Number(whole.data[0].c)], [1, 50004])

    let count = 0
    const streamed = await client.query({ query: 'SELECT number FROM numbers(300000)', format: 'JSONCompactEachRow' })
    for await (const rows of streamed.stream()) count += rows.length
    assert.equal(count, 300000)

    await assert.rejects(
      client.query({ query: 'SELECT * FROM nowhere' }),
      (error) => error.code === '60' && error.type === 'UNKNOWN_TABLE'
    )
    await assert.rejects(async () => {
      const failing = await client.query({
        query: "SELECT throwIf(number = 100000), repeat('x', 100) FROM numbers(200000) SETTINGS max_block_size = 1000",
        format: 'JSONEachRow',
      })
      for await (const rows of failing.stream()) for (const row of rows) row.json()
    })

    const stopping = new AbortController()
    const slow = client.query({
      query: 'SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 2',
      abort_signal: stopping.signal,
    })
    setTimeout(() => stopping.abort(), 300)
    await assert.rejects(slow)
    for (let left = 1; left !== 0;) {
      const running = await client.query({
        query: "SELECT count() AS c FROM system.processes WHERE query LIKE '%= 2%' AND query NOT LIKE '%processes%'",
        format: 'JSONEachRow',
        clickhouse_settings: { output_format_json_quote_64bit_integers: 0 },
      })
      left = (await running.json())[0].c
    }
    await client.command({ query: `DROP TABLE ${table}` })
  } finally {
    await client.close()
  }
}
console.log('passed')
