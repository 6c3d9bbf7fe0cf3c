import { Controller, Get, Inject, OnApplicationShutdown, Query } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import { Pool } from 'pg';
import { DataSource } from 'typeorm';

import { User } from './user.entity';

@Controller()
export class RowsController implements OnApplicationShutdown {
  constructor(
    @Inject(Pool) private readonly pool: Pool,
    @InjectDataSource() private readonly source: DataSource,
  ) {}

  @Get('healthz')
  async healthz() {
    await this.pool.query('SELECT 1');
    return { status: 'ok' };
  }

  @Get('rows/pg')
  async fromPg() {
    const found = await this.pool.query(
      'SELECT id, name, session_user FROM users ORDER BY id DESC LIMIT 10',
    );
    const rows = found.rows.map(({ id, name }) => ({ id, name }));
    return { session_user: found.rows[0]?.session_user, rows };
  }

  @Get('rows/typeorm')
  async fromTypeOrm() {
    const rows = await this.source.getRepository(User).find({ order: { id: 'DESC' }, take: 10 });
    const [{ session_user }] = await this.source.query('SELECT session_user');
    return { session_user, rows };
  }

  @Get('slow')
  async slow(@Query('seconds') seconds = '20') {
    const found = await this.pool.query('SELECT session_user, pg_sleep($1)', [Number(seconds)]);
    return { session_user: found.rows[0].session_user };
  }

  async onApplicationShutdown() {
    await this.pool.end();
  }
}
