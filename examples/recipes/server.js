// A web server whose database stands in DATABASE_URL, or else in PGUSER, PGPASSWORD and the like.
'use strict';

const http = require('node:http');
const { Pool } = require('pg');

const pool = new Pool({
  connectionString: process.env.DATABASE_URL, max: 4, allowExitOnIdle: true,
});
pool.on('error', (error) => console.error(error.message));

http.createServer(async (request, response) => {
  try {
    const { rows } = await pool.query('SELECT session_user::text AS name');
    response.end(rows[0].name);
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
}).listen(process.env.PORT, '127.0.0.1');
