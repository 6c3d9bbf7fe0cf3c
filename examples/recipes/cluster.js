// Two workers. At SIGHUP each is replaced by one that knows the database's URL of this moment: the
// new one listens before the old one, which ends its requests, goes.
'use strict';

const cluster = require('node:cluster');
const { readFileSync } = require('node:fs');

cluster.setupPrimary({ exec: `${__dirname}/server.js` });

function start() {
  const worker = cluster.fork({
    DATABASE_URL: readFileSync(process.env.DATABASE_URL_FILE, 'utf8'),
  });
  return new Promise((resolve) => { worker.once('listening', resolve); });
}

async function replace() {
  for (const worker of Object.values(cluster.workers)) {
    await start();
    worker.disconnect();
  }
}

let turn = Promise.all([start(), start()]);
process.on('SIGHUP', () => { turn = turn.then(replace); });
