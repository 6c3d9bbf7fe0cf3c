import 'reflect-metadata';

import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Pool } from 'pg';

import { createPool, typeorm } from './database';
import { RowsController } from './rows.controller';

@Module({
  imports: [TypeOrmModule.forRoot(typeorm)],
  controllers: [RowsController],
  providers: [{ provide: Pool, useFactory: createPool }],
})
class AppModule {}

async function main() {
  const app = await NestFactory.create(AppModule, { logger: ['error', 'warn'] });
  app.enableShutdownHooks();
  await app.listen(Number(process.env.PORT ?? 3000), process.env.HOST ?? '127.0.0.1');
}

void main();
