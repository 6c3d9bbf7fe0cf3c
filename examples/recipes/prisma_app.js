// Prisma: DATABASE_URL names the pooler on this machine, with a user that stays.
'use strict';

const { PrismaPg } = require('@prisma/adapter-pg');
const { PrismaClient } = require('@prisma/client');
const { run } = require('./tally');

const adapter = new PrismaPg({ connectionString: process.env.DATABASE_URL, max: 4 });
const prisma = new PrismaClient({ adapter });

async function query() {
  await prisma.memory.count();
  return (await prisma.$queryRaw`SELECT session_user::text AS name`)[0].name;
}

run(query).then(() => prisma.$disconnect());
