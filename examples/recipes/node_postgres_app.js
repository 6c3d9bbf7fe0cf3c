// node-postgres: DATABASE_URL names the pooler on this machine, with a user that stays.
'use strict';

const { Pool } = require('pg');
const { run } = require('./tally');

const pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 4 });
// Without it, an idle connection that the other side closes ends the program.
pool.on('error', (error) => console.error(error.message));

run(async () => (await pool.query('SELECT session_user::text AS name')).rows[0].name)
  .then(() => pool.end());
