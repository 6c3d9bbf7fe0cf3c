// TypeORM: DATABASE_URL names the pooler on this machine, with a user that stays.
'use strict';

const { DataSource, EntitySchema } = require('typeorm');
const { run } = require('./tally');

const Memory = new EntitySchema({
  name: 'Memory',
  tableName: 'memories',
  columns: { id: { type: 'bigint', primary: true, generated: true }, body: { type: 'text' } },
});
const source = new DataSource({
  type: 'postgres', url: process.env.DATABASE_URL, entities: [Memory], extra: { max: 4 },
});

async function query() {
  await source.getRepository(Memory).count();
  return (await source.query('SELECT session_user::text AS name'))[0].name;
}

source.initialize().then(() => run(query)).then(() => source.destroy());
