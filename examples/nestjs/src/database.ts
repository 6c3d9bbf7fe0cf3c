// One database, reached in two ways: a pool of node-postgres, and TypeORM, which has its own.

import { Logger } from '@nestjs/common';
import { Pool, PoolConfig } from 'pg';
import { DataSourceOptions } from 'typeorm';

import { User } from './user.entity';

const url = process.env.DATABASE_URL ?? 'postgresql://app@127.0.0.1:6432/novacore';
const logger = new Logger('database');

const size: PoolConfig = {
  min: 1,
  max: Number(process.env.DATABASE_POOL_MAX ?? 10),
  idleTimeoutMillis: 30_000,
  connectionTimeoutMillis: 5_000,
};

// The server may end a connection that nobody uses just now. The pool makes another one by itself;
// without a handler the error would end the process.
const lost = (error: Error) => logger.warn(`connection lost: ${error.message}`);

export function createPool(): Pool {
  return new Pool({ connectionString: url, ...size }).on('error', lost);
}

export const typeorm: DataSourceOptions = {
  type: 'postgres',
  url,
  entities: [User],
  extra: size,
  poolErrorHandler: lost,
};
